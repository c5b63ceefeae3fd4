import type { CloudConfig, CloudPorts } from "../../ports.ts";
import type { Metrics } from "./metrics.ts";

/** What every handler gets beside its call. */
export interface ApiContext extends CloudPorts {
  readonly config: CloudConfig;
  readonly metrics: Metrics;
}

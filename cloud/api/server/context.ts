import type { Heartbeats } from "../../inventory/heartbeats.ts";
import { shifted } from "../../inventory/times.ts";
import type { CloudConfig, CloudPorts } from "../../ports.ts";
import type { ViewTime } from "../../store/vehicle-events.ts";
import type { EventFeed } from "./feed.ts";
import type { Metrics } from "./metrics.ts";

/** What every handler gets beside its call. */
export interface ApiContext extends CloudPorts {
  readonly config: CloudConfig;
  readonly metrics: Metrics;
  readonly heartbeats: Heartbeats;
  readonly feed: EventFeed;
  /** Aborts when the server begins to stop. */
  readonly stopping: AbortSignal;
}

/** The moment from which connectivity is judged. */
export function viewTime(context: Pick<ApiContext, "config">, at: string): ViewTime {
  return { at, offlineBefore: shifted(at, -context.config.offlineAfterMs) };
}

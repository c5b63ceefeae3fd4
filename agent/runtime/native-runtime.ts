import type { RuntimeConfig } from "@muto/spec";
import type { Runtime } from "../ports.ts";
import { ProcessRuntime, type OutputSearch, type ProcessRuntimeOptions } from "./process-runtime.ts";

/** Runs native workloads and answers log probes. Disposing of it closes connections and signals no workload (H2). */
export interface NativeRuntime extends Runtime, OutputSearch, AsyncDisposable {}

export type NativeRuntimeOptions = Pick<
  ProcessRuntimeOptions,
  "disk" | "clock" | "logger" | "runs" | "bootId" | "nodePath" | "host"
>;

/** The adapter for native workloads that the vehicle's configuration names; undefined when it names none. */
export async function openNativeRuntime(
  config: RuntimeConfig,
  options: NativeRuntimeOptions,
): Promise<NativeRuntime | undefined> {
  if (config.adapter === "none") return undefined;
  return new ProcessRuntime({
    ...options,
    isolation: config.isolation,
    probeAddress: config.probeAddress,
    allowGpus: config.allow.gpus,
    startLimitMs: config.startLimitSec * 1000,
    ...(config.prefix === undefined ? {} : { prefix: config.prefix }),
  });
}

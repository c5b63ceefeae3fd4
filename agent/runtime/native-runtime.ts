import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { RuntimeConfig } from "@muto/spec";
import type { Runtime } from "../ports.ts";
import { ProcessRuntime, type OutputSearch, type ProcessRuntimeOptions } from "./process-runtime.ts";
import { systemPrograms } from "./systemd/run-program.ts";
import { SystemdRuntime, isSystemdHere } from "./systemd/systemd-runtime.ts";

/** Runs native workloads and answers log probes. Disposing of it closes connections and signals no workload (H2). */
export interface NativeRuntime extends Runtime, OutputSearch, AsyncDisposable {}

export type NativeRuntimeOptions = Pick<
  ProcessRuntimeOptions,
  "disk" | "clock" | "logger" | "runs" | "bootId" | "nodePath" | "host"
>;

/**
 * The adapter for native workloads that the vehicle's configuration names; undefined when it names none. What another one
 * started before stays known: it can be seen and stopped after the configuration was changed.
 */
export async function openNativeRuntime(
  config: RuntimeConfig,
  options: NativeRuntimeOptions,
): Promise<NativeRuntime | undefined> {
  if (config.adapter === "none") return undefined;
  const common = {
    ...options,
    probeAddress: config.probeAddress,
    allowGpus: config.allow.gpus,
    startLimitMs: config.startLimitSec * 1000,
    ...(config.prefix === undefined ? {} : { prefix: config.prefix }),
  };
  const process = new ProcessRuntime({ ...common, isolation: config.isolation });
  const startsUnits = config.adapter === "systemd";
  const units = join(dirname(options.runs), "units");
  if (startsUnits && !isSystemdHere()) {
    options.logger.error("systemd did not boot this computer; no native workload will start");
  }
  if (!startsUnits && !(isSystemdHere() && existsSync(units))) return process;
  return new SystemdRuntime({ ...common, process, units, startsUnits, run: systemPrograms() });
}

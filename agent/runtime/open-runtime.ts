import { join } from "node:path";
import type { AgentConfig, RuntimeConfig } from "@muto/spec";
import { CompositeRuntime } from "./composite-runtime.ts";
import type { NativeRuntime, NativeRuntimeOptions } from "./native-runtime.ts";
import { engineAt } from "./oci/engine.ts";
import { findEngineSocket } from "./oci/find-socket.ts";
import { OciRuntime } from "./oci/oci-runtime.ts";

/**
 * What runs native workloads; it starts processes, so a confined agent comes without one and its program holds no call that
 * could.
 */
export type OpenNative = (config: RuntimeConfig, options: NativeRuntimeOptions) => Promise<NativeRuntime | undefined>;

/** The runtime that the vehicle's configuration asks for. An engine that is away is waited for, not given up. */
export async function openRuntime(
  { runtime, vehicle, stateDir }: Pick<AgentConfig, "runtime" | "vehicle" | "stateDir">,
  options: NativeRuntimeOptions,
  openNative: OpenNative | undefined,
): Promise<CompositeRuntime> {
  const native = await openNative?.(runtime, options);
  if (runtime.oci === undefined) return new CompositeRuntime({ native, oci: undefined });
  const socket = await findEngineSocket(runtime.oci.socket);
  options.logger.info("container engine", { socket });
  const oci = new OciRuntime({
    ...options,
    engine: engineAt(socket),
    vehicleId: vehicle.id,
    setsFolder: join(stateDir, "sets"),
    config: runtime,
  });
  return new CompositeRuntime({ native, oci });
}

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAgentConfig } from "@muto/agent/config";
import type { CompositeRuntime } from "@muto/agent/runtime/composite-runtime";
import { openNativeRuntime } from "@muto/agent/runtime/native-runtime";
import { openRuntime } from "@muto/agent/runtime/open-runtime";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";

/**
 * Ends what a vehicle runs, when the demonstration is over. Its agent has ended before, and workloads never end with it,
 * so this speaks to their supervisors, or to the engine, as the next agent would.
 */
export async function stopWorkloads(home: string): Promise<void> {
  await using runtime = await runtimeOf(home);
  if (runtime === undefined) return;
  await Promise.all(
    (await runtime.inspect()).map(async ({ instanceId }) => {
      await runtime.stop(instanceId);
      // Until it is forgotten, something stays to tell the next agent how its workload ended.
      await runtime.forget(instanceId);
    }),
  );
  await runtime.sweep([]);
}

/** Names of the workloads that run on a vehicle at this moment, whatever anybody reports. */
export async function runningWorkloads(home: string): Promise<readonly string[]> {
  await using runtime = await runtimeOf(home);
  if (runtime === undefined) return [];
  return (await runtime.inspect()).filter(({ state }) => state.kind === "running").map(({ workload }) => workload);
}

/** As the vehicle's own configuration says; undefined while it never ran anything. */
async function runtimeOf(home: string): Promise<CompositeRuntime | undefined> {
  const runs = join(home, "state", "runs");
  if (!existsSync(runs)) return undefined;
  const disk = systemDisk();
  const loaded = await loadAgentConfig(disk, join(home, "agent.json"));
  if (!loaded.ok) throw new Error(`the vehicle's configuration cannot be read: ${loaded.problems.join("; ")}`);
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const ports = { disk, clock: systemClock(), logger: silentLogger };
  return await openRuntime(
    loaded.config,
    { ...ports, runs, bootId, nodePath: process.execPath, host: {} },
    openNativeRuntime,
  );
}

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ProcessRuntime } from "@muto/agent/runtime/process-runtime";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";

/**
 * Ends what a vehicle runs, when the demonstration is over. Its agent has ended before, and workloads never end with it,
 * so this speaks to their supervisors as the next agent would.
 */
export async function stopWorkloads(home: string): Promise<void> {
  if (!existsSync(runsOf(home))) return;
  await using runtime = openRuntime(home);
  await Promise.all(
    (await runtime.inspect()).map(async ({ instanceId }) => {
      await runtime.stop(instanceId);
      // Until it is forgotten, a supervisor stays to tell the next agent how its workload ended.
      await runtime.forget(instanceId);
    }),
  );
}

/** Names of the workloads that run on a vehicle at this moment, whatever anybody reports. */
export async function runningWorkloads(home: string): Promise<readonly string[]> {
  if (!existsSync(runsOf(home))) return [];
  await using runtime = openRuntime(home);
  return (await runtime.inspect()).filter(({ state }) => state.kind === "running").map(({ workload }) => workload);
}

function openRuntime(home: string): ProcessRuntime {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return new ProcessRuntime({
    disk: systemDisk(),
    clock: systemClock(),
    logger: silentLogger,
    runs: runsOf(home),
    bootId,
    nodePath: process.execPath,
    host: {},
  });
}

function runsOf(home: string): string {
  return join(home, "state", "runs");
}

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
  const runs = join(home, "state", "runs");
  if (!existsSync(runs)) return;
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  await using runtime = new ProcessRuntime({
    disk: systemDisk(),
    clock: systemClock(),
    logger: silentLogger,
    runs,
    bootId,
    nodePath: process.execPath,
    host: {},
  });
  const instances = await runtime.inspect();
  await Promise.all(
    instances.map(async ({ instanceId }) => {
      await runtime.stop(instanceId);
      // Until it is forgotten, a supervisor waits for an agent that asks how its workload ended.
      await runtime.forget(instanceId);
    }),
  );
}

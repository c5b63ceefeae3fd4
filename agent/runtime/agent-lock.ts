import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { ownProcess, type ProcessTable } from "./process-table.ts";
import type { ProcessId } from "./run-records.ts";

/** `held`: another agent that lives uses this state. `unavailable`: the disk refuses even a name. */
export type AgentLock =
  | { readonly ok: true; readonly lock: AsyncDisposable }
  | { readonly ok: false; readonly problem: "held"; readonly pid: number }
  | { readonly ok: false; readonly problem: "unavailable"; readonly code: string };

export interface AgentLockOptions {
  readonly disk: Disk;
  readonly processes: Pick<ProcessTable, "isAlive">;
  /** Of the computer as it runs now: a record of an earlier boot is of a process that is gone. */
  readonly bootId: string;
  readonly stateDir: string;
  /** Who wants the lock; this process, unless a test says otherwise. */
  readonly self?: ProcessId;
}

const OWNER = /^owner-(\d{1,9})-(\d{1,15})-([0-9a-f-]{36})$/;

/**
 * Makes sure that one agent alone works with a state folder: two would both start workloads, and the hardware is
 * exclusive. Each writes its own name first and looks for others afterwards, so of two that start at the same moment the
 * one that looks last sees the other: perhaps both step back, never do both go on. A name counts while the very process that
 * it tells of lives, so a dead agent keeps nobody out. It needs no program and no room for data: names of the dead are
 * removed first, so that an agent starts on a full disk.
 */
export async function lockAgentState(options: AgentLockOptions): Promise<AgentLock> {
  const { disk, stateDir, bootId } = options;
  const { pid, startTicks } = options.self ?? ownProcess();
  const own = join(stateDir, `owner-${pid}-${startTicks}-${bootId}`);
  try {
    await disk.makeFolder(stateDir);
    const before = await liveOwner(options, own);
    if (before !== undefined) return { ok: false, problem: "held", pid: before.pid };
    await disk.symlink("agent", own);
    const rival = await liveOwner(options, own);
    if (rival === undefined) return { ok: true, lock: { [Symbol.asyncDispose]: () => disk.remove(own) } };
    await disk.remove(own);
    return { ok: false, problem: "held", pid: rival.pid };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    // The same process asks twice: its own name is there already.
    if (error.code === "EEXIST") return { ok: false, problem: "held", pid };
    return { ok: false, problem: "unavailable", code: error.code };
  }
}

/** Another process that lives and has its name here; names of the dead are removed on the way. */
async function liveOwner(
  { disk, processes, bootId, stateDir }: AgentLockOptions,
  own: string,
): Promise<ProcessId | undefined> {
  for (const { name } of await disk.list(stateDir)) {
    const [, pid, startTicks, boot] = OWNER.exec(name) ?? [];
    const path = join(stateDir, name);
    if (pid === undefined || path === own) continue;
    const owner = { pid: Number(pid), startTicks: Number(startTicks) };
    if (boot === bootId && (await processes.isAlive(owner))) return owner;
    await disk.remove(path);
  }
  return undefined;
}

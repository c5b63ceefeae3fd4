import { readFileSync, readdirSync } from "node:fs";
import type { ProcessId } from "./run-records.ts";

/** The processes of the computer, as /proc shows them. */
export interface ProcessTable {
  /** Whether this very process, not another one with its number, is there and has not ended. */
  isAlive(process: ProcessId): Promise<boolean>;
  /** Processes that carry the mark of a run folder in their environment. */
  bearers(): Promise<readonly Bearer[]>;
  /** SIGKILL to this very process, if it is still there. */
  kill(process: ProcessId): Promise<void>;
}

export interface Bearer {
  readonly pid: number;
  readonly runFolder: string;
  readonly environment: ReadonlyMap<string, string>;
}

/** The variable that every process of an instance inherits; it holds the run folder's true path, which no other instance has. */
const RUN_MARK = "MUTO_RUN";

/** Reads /proc synchronously: there is no disk behind it, and the detour over threads costs ten times as much. */
export function procTable(): ProcessTable {
  return {
    isAlive: async ({ pid, startTicks }) => startTicksOf(pid) === startTicks,
    bearers: async () => {
      const pids = readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map(Number);
      return pids.flatMap((pid) => {
        const environment = environmentOf(pid);
        const runFolder = environment.get(RUN_MARK);
        return runFolder === undefined ? [] : [{ pid, runFolder, environment }];
      });
    },
    kill: async ({ pid, startTicks }) => {
      if (startTicksOf(pid) !== startTicks) return;
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It was faster.
      }
    },
  };
}

/** This process, so that nobody takes a later one with its number for it. */
export function ownProcess(): ProcessId {
  const startTicks = startTicksOf(process.pid);
  if (startTicks === undefined) throw new Error("/proc does not show this process");
  return { pid: process.pid, startTicks };
}

/** Field 22 of /proc/PID/stat; undefined for a process that is gone or a zombie. */
function startTicksOf(pid: number): number | undefined {
  const text = contentOf(`/proc/${pid}/stat`).toString("latin1");
  // The second field, the program's name, may itself contain spaces and brackets.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields.length < 20 || fields[0] === "Z" || fields[0] === "X") return undefined;
  return Number(fields[19]);
}

function environmentOf(pid: number): ReadonlyMap<string, string> {
  const entries = contentOf(`/proc/${pid}/environ`).toString("utf8").split("\0");
  return new Map(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      return [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

/** A process may end, or belong to somebody else, between any two looks: then there is nothing to read. */
function contentOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

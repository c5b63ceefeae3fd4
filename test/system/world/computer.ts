import { readdirSync, readFileSync } from "node:fs";

/** A workload that runs on this computer, as the kernel shows it; nothing here is what an agent says. */
export interface RunningWorkload {
  readonly pid: number;
  /** Where its supervisor keeps its records. */
  readonly runFolder: string;
  readonly instanceId: string;
  /** Manifest digest of the set that it was started for. */
  readonly set: string;
  readonly workload: string;
}

/** What starts a workload and then becomes it, or waits for it; not the workload itself. */
const ENTRANCES = new Set(["nsenter", "unshare", "setsid"]);

const RUN_MARK = "MUTO_RUN=";

/** Every workload that runs for an agent whose state is somewhere below the folder: leaders of sessions that bear its mark. */
export function workloadsBelow(folder: string): readonly RunningWorkload[] {
  // The kernel answers at once, so nothing is gained by reading hundreds of small files over other threads.
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids
    .map((pid) => workloadAt(Number(pid), `${RUN_MARK}${folder}/`))
    .filter((one) => one !== undefined)
    .toSorted((a, b) => (a.workload < b.workload ? -1 : a.workload > b.workload ? 1 : a.pid - b.pid));
}

function workloadAt(pid: number, mark: string): RunningWorkload | undefined {
  const environment = contentOf(`/proc/${pid}/environ`).split("\0");
  const runFolder = environment.find((entry) => entry.startsWith(mark))?.slice(RUN_MARK.length);
  if (runFolder === undefined) return undefined;
  const value = (name: string) => environment.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
  const [instanceId, set, workload] = ["MUTO_INSTANCE", "MUTO_SET", "MUTO_WORKLOAD"].map(value);
  if (instanceId === undefined || set === undefined || workload === undefined) return undefined;
  const stat = contentOf(`/proc/${pid}/stat`);
  const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
  const [state, , , session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (ENTRANCES.has(name) || state === undefined || state === "Z" || state === "X") return undefined;
  return Number(session) === pid ? { pid, runFolder, instanceId, set, workload } : undefined;
}

/** SIGKILL to a process that one of our vehicles started; it may have been faster. */
export function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was faster.
  }
}

/** A process may end between any two looks: then there is nothing to read. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

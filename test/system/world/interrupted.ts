import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { kill } from "./computer.ts";

/**
 * Agents, supervisors and workloads outlive whoever started them, so a test that is interrupted would leave them for ever.
 * Until it is disposed, an interruption kills every process that works for an agent below the folder.
 */
export function endWhenInterrupted(folder: string): Disposable {
  const endings = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    const end = () => {
      for (const pid of processesBelow(folder)) kill(pid);
      process.off(signal, end);
      // The last one lets the signal do what it was sent for.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, end);
    return () => void process.off(signal, end);
  });
  return {
    [Symbol.dispose]: () => {
      for (const forget of endings) forget();
    },
  };
}

/** Agents first, which would restart the rest: they name their configuration, workloads their run folder, supervisors stand in it. */
function processesBelow(folder: string): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const isAgent = (pid: string) =>
    textOf(`/proc/${pid}/cmdline`)
      .split("\0")
      .some((one) => one.startsWith(`${folder}/`));
  const isOther = (pid: string) =>
    textOf(`/proc/${pid}/environ`).includes(`MUTO_RUN=${folder}/`) || placeOf(pid).startsWith(`${folder}/`);
  return [...pids.filter(isAgent), ...pids.filter(isOther)].map(Number);
}

/** A process may end between any two looks: then there is nothing to read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function placeOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}

import { readFile } from "node:fs/promises";
import { cpuMsOf, loadOf, rssMbOf } from "./figures.ts";
import type { Load, Sample } from "./figures.ts";

/** Looks at a process every second until it is disposed of. */
export interface ProcessWatch extends AsyncDisposable {
  /** From here to the next mark, or to the last sample, is a phase of this name. */
  mark(phase: string): Promise<void>;
  loads(): ReadonlyMap<string, Load>;
}

const EVERY_MS = 1_000;

export function watchProcess(pid: number): ProcessWatch {
  const phases = new Map<string, Sample[]>();
  let samples: Sample[] = [];
  const look = async () => void samples.push(await sampleOf(pid));
  const timer = setInterval(() => void look().catch(() => {}), EVERY_MS);
  return {
    mark: async (phase) => {
      await look();
      const border = samples.at(-1);
      samples = border === undefined ? [] : [border];
      phases.set(phase, samples);
    },
    loads: () => new Map([...phases].map(([phase, seen]) => [phase, loadOf(seen)])),
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
    },
  };
}

/** CPU and memory of a process at this moment; rejects when it is gone. */
export async function sampleOf(pid: number): Promise<Sample> {
  const [stat, status] = await Promise.all(["stat", "status"].map((name) => readFile(`/proc/${pid}/${name}`, "utf8")));
  return { atMs: performance.now(), cpuMs: cpuMsOf(stat ?? ""), rssMb: rssMbOf(status ?? "") };
}

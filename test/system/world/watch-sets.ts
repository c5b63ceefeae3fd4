import { dirname } from "node:path";
import { workloadsBelow } from "./computer.ts";
import type { RunningWorkload } from "./computer.ts";

const LOOK_EVERY_MS = 60;

/** Looks at what runs all the time, and keeps every moment at which workloads of two sets ran side by side on one vehicle. */
export interface SetWatch extends Disposable {
  readonly mixed: readonly (readonly RunningWorkload[])[];
}

export function watchSets(folder: string): SetWatch {
  const mixed: (readonly RunningWorkload[])[] = [];
  const timer = setInterval(() => {
    if (mixedAmong(workloadsBelow(folder)).length === 0) return;
    // A look takes a moment, so that what ended and what began meanwhile may both be in it: the second one decides.
    mixed.push(...mixedAmong(workloadsBelow(folder)));
  }, LOOK_EVERY_MS);
  return { mixed, [Symbol.dispose]: () => clearInterval(timer) };
}

function mixedAmong(running: readonly RunningWorkload[]): readonly (readonly RunningWorkload[])[] {
  const vehicles = Map.groupBy(running, ({ runFolder }) => dirname(runFolder));
  return [...vehicles.values()].filter((own) => new Set(own.map(({ set }) => set)).size > 1);
}

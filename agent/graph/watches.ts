import type { Clock } from "@muto/kit/clock";

/** What is watched because somebody asked, until nobody has asked for a while. */
export interface Watches<Value> {
  /** The watch under this key, begun now if it is not there yet; undefined when there are too many. */
  ask(key: string, begin: () => Watched<Value>): Watched<Value> | undefined;
  /** Ends the watches that nobody has asked for. */
  sweep(): void;
}

export interface Watched<Value> {
  readonly value: Value;
  readonly sinceMs: number;
  readonly subscription: Disposable;
}

const WATCHES_MAX = 64;

/** Longer than the longest window of a probe, so that a slow look does not begin anew. */
const KEPT_MS = 360_000;

export function createWatches<Value>(clock: Clock): Watches<Value> {
  const watches = new Map<string, Watched<Value> & { askedMs: number }>();
  return {
    ask: (key, begin) => {
      const known = watches.get(key);
      if (known === undefined && watches.size >= WATCHES_MAX) return undefined;
      const watched = known ?? { ...begin(), askedMs: 0 };
      watched.askedMs = clock.monotonicMs();
      watches.set(key, watched);
      return watched;
    },
    sweep: () => {
      for (const [key, { askedMs, subscription }] of watches) {
        if (clock.monotonicMs() - askedMs < KEPT_MS) continue;
        subscription[Symbol.dispose]();
        watches.delete(key);
      }
    },
  };
}

/** Calls `work` every so often until told to stop; what it rejects with ends it. */
export async function every(ms: number, clock: Clock, stop: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!stop.aborted) {
    await clock.sleep(ms, stop);
    if (!stop.aborted) await work();
  }
}

import type { Clock } from "@muto/kit/clock";

/** A clock that stands still until it is turned; sleeping turns it. */
export interface HandClock extends Clock {
  turn(ms: number): void;
}

export function handClock(startMs: number): HandClock {
  let nowMs = startMs;
  return {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs - startMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
    turn: (ms) => {
      nowMs += ms;
    },
  };
}

import type { Clock } from "./clock.ts";

/**
 * A level-triggered bell: ringing it any number of times before somebody waits ends exactly one wait. It carries no
 * meaning; whoever wakes reads the truth. One waiter at a time.
 */
export interface Wake {
  ring(): void;
  /** Resolves when the bell was rung since the last wait, after `ms`, or when the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<"rung" | "elapsed" | "aborted">;
}

export function createWake(clock: Clock): Wake {
  let rung = false;
  let waiter: AbortController | undefined;
  return {
    ring: () => {
      rung = true;
      waiter?.abort();
    },
    wait: async (ms, signal) => {
      if (!rung && !signal.aborted) {
        waiter = new AbortController();
        await clock.sleep(ms, AbortSignal.any([waiter.signal, signal]));
        waiter = undefined;
      }
      if (signal.aborted) return "aborted";
      const answer = rung ? "rung" : "elapsed";
      rung = false;
      return answer;
    },
  };
}

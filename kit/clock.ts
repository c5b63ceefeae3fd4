import { setTimeout as delay } from "node:timers/promises";

/** The only source of time. `wallMs` may jump; `monotonicMs` never goes back and starts anywhere. */
export interface Clock {
  /** Milliseconds since the Unix epoch, as the computer believes. */
  wallMs(): number;
  /** Milliseconds that never run backwards within one boot. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export function systemClock(): Clock {
  return {
    wallMs: () => Date.now(),
    // Counted from the boot, not from the start of the process, so that a restarted agent can go on measuring.
    monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
    sleep: async (ms, signal) => {
      try {
        await delay(Math.max(0, ms), undefined, signal === undefined ? {} : { signal });
      } catch {
        // An aborted sleep is simply over: whoever aborted it says what happens next.
      }
    },
  };
}

/** RFC 3339 in UTC with milliseconds, the only form of time in documents and databases. */
export function timestamp(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

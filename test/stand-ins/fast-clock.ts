import { systemClock, type Clock } from "@muto/kit/clock";

/** A clock that runs so many times faster than the computer's, so that waiting for a time limit costs no time. */
export function fastClock(factor: number): Clock {
  const real = systemClock();
  const [startMonotonicMs, startWallMs] = [real.monotonicMs(), real.wallMs()];
  const passedMs = () => (real.monotonicMs() - startMonotonicMs) * factor;
  return {
    monotonicMs: () => startMonotonicMs + passedMs(),
    wallMs: () => startWallMs + passedMs(),
    sleep: async (ms, signal) => await real.sleep(ms / factor, signal),
  };
}

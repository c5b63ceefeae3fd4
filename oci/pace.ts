import type { Clock } from "@muto/kit/clock";

export interface Pace {
  /** How long one window of pure waiting for the network is. */
  readonly windowMs: number;
  /** Fewer bytes than this in one window is an attack or a dead line. */
  readonly bytesPerWindowMin: number;
}

/** 1 KiB/s over half a minute: below what the oldest mobile networks manage, above what keeps a vehicle busy for ever. */
export const DEFAULT_PACE: Pace = { windowMs: 30_000, bytesPerWindowMin: 30 * 1024 };

export class TooSlow extends Error {
  override readonly name = "TooSlow";
  constructor() {
    super("fewer bytes arrived than the pace demands");
  }
}

/**
 * Passes a stream through and throws {@link TooSlow} when it delivers less than the pace demands (slow retrieval). Only time
 * spent waiting for the source counts: a reader that writes to a slow disk or limits its own rate is not the source's fault.
 * `abandon` must end the source, because a pending read of a silent peer would otherwise never settle.
 */
export async function* paced(
  source: AsyncIterable<Uint8Array>,
  options: { readonly clock: Clock; readonly pace: Pace; readonly abandon: () => void },
): AsyncGenerator<Uint8Array> {
  const { clock, pace, abandon } = options;
  const iterator = source[Symbol.asyncIterator]();
  let waitedMs = 0;
  let received = 0;
  let finished = false;
  let pending = iterator.next();
  try {
    for (;;) {
      const startedMs = clock.monotonicMs();
      const chunk = await settledWithin(pending, pace.windowMs - waitedMs, clock);
      waitedMs += clock.monotonicMs() - startedMs;
      if (chunk?.done === true) {
        finished = true;
        return;
      }
      received += chunk?.value.byteLength ?? 0;
      if (chunk === undefined || waitedMs >= pace.windowMs) {
        if (received < pace.bytesPerWindowMin) throw new TooSlow();
        waitedMs = 0;
        received = 0;
      }
      if (chunk !== undefined) {
        yield chunk.value;
        pending = iterator.next();
      }
    }
  } finally {
    if (!finished) {
      abandon();
      // Whatever the abandoned read still says is of no interest, but must not become an unhandled rejection.
      pending.catch(() => {});
    }
  }
}

async function settledWithin<T>(pending: Promise<T>, ms: number, clock: Clock): Promise<T | undefined> {
  const timer = new AbortController();
  try {
    return await Promise.race([pending, clock.sleep(Math.max(0, ms), timer.signal).then(() => undefined)]);
  } finally {
    timer.abort();
  }
}

import type { Clock } from "@muto/kit/clock";

/** What the promise resolves to, or undefined when the limit is over first. */
export async function within<T>(clock: Clock, limitMs: number, promise: Promise<T>): Promise<T | undefined> {
  const over = new AbortController();
  try {
    return await Promise.race([promise, clock.sleep(limitMs, over.signal).then(() => undefined)]);
  } finally {
    over.abort();
  }
}

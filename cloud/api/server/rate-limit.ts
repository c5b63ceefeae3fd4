/** How much one caller may ask at once, and how fast that grows again. */
export interface Rate {
  readonly burst: number;
  readonly perSec: number;
}

export interface RateLimiter {
  /** 0 when the caller may go on, else the seconds after which it is worth trying again. */
  take(caller: string, rate: Rate, nowMs: number): number;
}

/** Callers that are remembered at once; the one that asked longest ago is forgotten first, which only forgives it. */
const CALLERS_MAX = 200_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets by caller, in memory of this replica: a guard against floods, no accounting. `nowMs` is monotonic time. */
export function createRateLimiter(): RateLimiter {
  const buckets = new Map<string, Bucket>();
  return {
    take: (caller, rate, nowMs) => {
      const known = buckets.get(caller);
      const bucket = known ?? { tokens: rate.burst, atMs: nowMs };
      bucket.tokens = Math.min(rate.burst, bucket.tokens + (Math.max(0, nowMs - bucket.atMs) / 1000) * rate.perSec);
      bucket.atMs = nowMs;
      buckets.delete(caller);
      buckets.set(caller, bucket);
      if (buckets.size > CALLERS_MAX) {
        const oldest = buckets.keys().next();
        if (oldest.done !== true) buckets.delete(oldest.value);
      }
      if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) / rate.perSec);
      bucket.tokens -= 1;
      return 0;
    },
  };
}

/**
 * When rollouts may be judged again after the control plane itself was away: nobody could be heard meanwhile, so for a while
 * silence says nothing about the vehicles. Without the wait a wave would look as if almost all of its members were offline, and
 * pass or stop by the few that spoke up first.
 */

/** Vehicles get the time of two polls to say that they are there; less where silence is judged sooner. */
const SETTLE_MS_MAX = 60_000;
/** A vehicle may have been heard so long before the outage began. */
const HEARD_BEFORE_MS_MAX = 60_000;

export interface Return {
  /** Wall clock at which we can be heard again. */
  readonly backMs: number;
  /** When anybody was heard, or looked for, last; null when there is nobody yet. */
  readonly lastMs: number | null;
  /** Silence after which a vehicle counts as offline. */
  readonly offlineAfterMs: number;
}

/** Wall clock from which on rollouts are judged: at once, unless the outage was long enough to make vehicles look offline. */
export function judgedFromMs({ backMs, lastMs, offlineAfterMs }: Return): number {
  const outageMsMin = Math.max(offlineAfterMs - HEARD_BEFORE_MS_MAX, offlineAfterMs / 2);
  if (lastMs === null || backMs - lastMs < outageMsMin) return backMs;
  return backMs + Math.min(SETTLE_MS_MAX, offlineAfterMs);
}

/**
 * When rollouts may be judged again after the control plane itself was away: nobody could be heard meanwhile, so for a while
 * silence says nothing about the vehicles. Without the wait a wave would look as if almost all of its members were offline, and
 * pass or stop by the few that spoke up first.
 */

/** Vehicles get the time of two polls to say that they are there. */
const SETTLE_MS = 60_000;
/** Silence of everybody for longer than this is an outage of ours; a healthy fleet polls and beats every 30 s. */
const OUTAGE_MS_MIN = 45_000;

export interface Return {
  /** Wall clock at which we can be heard again. */
  readonly backMs: number;
  /** When anybody was heard, or looked for, last; null when there is nobody yet. */
  readonly lastMs: number | null;
}

/** Wall clock from which on rollouts are judged. A fleet that was heard a moment ago is judged at once. */
export function judgedFromMs({ backMs, lastMs }: Return): number {
  return lastMs === null || backMs - lastMs < OUTAGE_MS_MIN ? backMs : backMs + SETTLE_MS;
}

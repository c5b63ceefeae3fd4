import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";

/** Whether the set that a switch would return to was found whole within the last day, and the clock has not gone back since. */
export function isTargetVerified({ state, now }: Pick<Observed, "state" | "now">): boolean {
  if (state.active === null || state.rollbackVerifiedAtMs === null) return false;
  const ageMs = now.wallMs - state.rollbackVerifiedAtMs;
  return ageMs >= 0 && ageMs < LIMITS.rollbackVerifiedMsMax;
}

export function isFreshlyVerified({ seen, now }: Pick<Observed, "seen" | "now">, digest: string): boolean {
  const verifiedMs = seen.verifiedMs.get(digest);
  return verifiedMs !== undefined && now.monotonicMs - verifiedMs < LIMITS.verifiedBeforeStartMsMax;
}

import type { RolloutPause, RolloutSettings, RolloutStage, RolloutStatus } from "@muto/spec";
import { classify, isAnswer, noMembers } from "./classify.ts";
import type { MemberFacts } from "./classify.ts";
import { earlier, noReasons, STOPPING_REASONS } from "./gate.ts";
import type { Cast, GateFacts, ReasonCounts } from "./gate.ts";

/**
 * What the newest assignment of a vehicle is to a rollout: `nothing` when the rollout never assigned the vehicle; its
 * release, to be started (`allowed`) or not (`withheld`); the way back (`return`); `other` when somebody else has
 * assigned something since (H13).
 */
export type Holding = "nothing" | "allowed" | "withheld" | "return" | "other";

/** Members that look alike to every decision; the database counts them in one statement. */
export interface Cohort extends MemberFacts {
  readonly cast: Cast;
  readonly holds: Holding;
  /** The vehicle has begun to switch to the release; what has begun is carried to its end. */
  readonly begun: boolean;
  /** Nothing may be assigned there: two installations answer for the vehicle (H19), or it is revoked. */
  readonly barred: boolean;
  readonly members: number;
  readonly reasons: ReasonCounts;
  readonly blockedSinceMs: number | null;
  /** When the longest unheard of these was heard last. */
  readonly lastSeenMs: number | null;
}

/** How far the way back has come; judged by reports about the rollback's assignments. */
export interface ReturnFacts {
  readonly converged: number;
  readonly failed: number;
  /** Assigned, within reach, no answer yet. */
  readonly open: number;
  readonly offline: number;
  /** Given the release, with nothing to return to. */
  readonly without: number;
  readonly lastSeenMs: number | null;
}

/** Everything a decision about one rollout may depend on. */
export interface RolloutFacts {
  readonly status: RolloutStatus;
  readonly stage: RolloutStage;
  readonly pause: RolloutPause["cause"] | null;
  /** An operator took the inconclusive gate of the present stage as passed. */
  readonly accepted: boolean;
  readonly withdrawn: boolean;
  /** The database is older than what vehicles know, and nobody has confirmed that yet (H16). */
  readonly restored: boolean;
  readonly settings: RolloutSettings;
  readonly planned: Readonly<Record<Cast, number>>;
  readonly cohorts: readonly Cohort[];
  readonly returns: ReturnFacts;
  /** When the clock of the present stage was started, or started again by resume. */
  readonly clockFromMs: number;
  readonly soakUntilMs: number | null;
  readonly watchUntilMs: number | null;
  readonly offlineAfterMs: number;
  readonly nowMs: number;
}

/** The members of one stage, added up. */
export interface CastProgress extends GateFacts {
  /** Members without an answer that nothing lets start: never assigned, or withheld since. */
  readonly toAssign: { readonly online: number; readonly offline: number };
  /** Within reach, allowed to start, and not answered; blocked ones apart, because they may start at any moment. */
  readonly inFlight: { readonly blocked: number; readonly others: number };
  /** Allowed to start, not begun, not answered: what a halt has to catch (H10). */
  readonly mayStart: number;
  /** When the next of the unanswered members counts as offline if it stays silent. */
  readonly nextOfflineMs: number | null;
}

/**
 * Adds up the cohorts of one stage. A vehicle that was blocked before the stage's clock was started again by a person is
 * counted as blocked from then on only, so that resuming means what it says.
 */
export function progressOf(facts: RolloutFacts, cast: Cast): CastProgress {
  const counts = noMembers();
  const reasons = noReasons();
  const toAssign = { online: 0, offline: 0 };
  const inFlight = { blocked: 0, others: 0 };
  let mayStart = 0;
  let blockedSinceMs: number | null = null;
  let lastSeenMs: number | null = null;
  for (const cohort of facts.cohorts) {
    if (cohort.cast !== cast) continue;
    const memberClass = classify(cohort);
    counts[memberClass] += cohort.members;
    for (const code of STOPPING_REASONS) reasons[code] += cohort.reasons[code];
    if (isAnswer(memberClass)) continue;
    if (memberClass === "blocked") blockedSinceMs = earlier(blockedSinceMs, cohort.blockedSinceMs);
    if (cohort.online) lastSeenMs = earlier(lastSeenMs, cohort.lastSeenMs);
    if (cohort.holds === "allowed") {
      // Who cannot be told to wait is not waited for: a vehicle with two installations gets no assignment at all (H19).
      if (!cohort.begun && !cohort.barred) mayStart += cohort.members;
      if (memberClass === "blocked") inFlight.blocked += cohort.members;
      else if (memberClass !== "offline") inFlight.others += cohort.members;
    } else if ((cohort.holds === "nothing" || cohort.holds === "withheld") && !cohort.barred) {
      toAssign[cohort.online ? "online" : "offline"] += cohort.members;
    }
  }
  return {
    cast,
    planned: facts.planned[cast],
    counts,
    reasons,
    blockedSinceMs: blockedSinceMs === null ? null : Math.max(blockedSinceMs, facts.clockFromMs),
    toAssign,
    inFlight,
    mayStart,
    nextOfflineMs: lastSeenMs === null ? null : lastSeenMs + facts.offlineAfterMs + 1,
  };
}

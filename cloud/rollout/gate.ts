import { memberTotal } from "./classify.ts";
import type { ClassCounts } from "./classify.ts";

/*
 * The gate of one stage: facts in, verdict out. Percentages are compared by multiplying integers, so nothing is rounded.
 * Blocked and offline members are neither success nor failure; they stand beside the percentage and never move it.
 */

export type Stage = "canary" | "wave";

/** Codes of which one report alone is reason enough to stop, unless the rollout allows some. */
export const STOPPING_REASONS = ["CRASH_LOOP_DETECTED", "READINESS_TIMEOUT", "VERIFY_SIGNATURE_FAILED"] as const;
export type StoppingReason = (typeof STOPPING_REASONS)[number];
export type ReasonCounts = Readonly<Record<StoppingReason, number>>;

/** Share of converged vehicles that a stage, and a whole rollout, must reach. */
export const CONVERGED_PCT_MIN = 95;

export interface StageFacts {
  readonly stage: Stage;
  /** How many members the stage was given when the rollout was planned. */
  readonly planned: number;
  /** The members it has now, each in one class. */
  readonly counts: ClassCounts;
  /** Members of which any report about this rollout's assignments carried the code. */
  readonly reasons: ReasonCounts;
  /** Since when the longest blocked of the members in class `blocked` has been so. */
  readonly blockedSinceMs: number | null;
}

export interface GateLimits {
  /** More than so many members with the code fail the stage. */
  readonly reasonsMax: ReasonCounts;
  readonly deadlineAtMs: number;
  readonly blockedMaxAgeMs: number;
}

export type GateOutcome = "pass" | "fail" | "inconclusive" | "pending";

/** Which of the rules decided; the names appear in the API and in the audit log. */
export type GateRule =
  | "reason_limit"
  | "unreachable"
  | "converged_share"
  | "empty_stage"
  | "deadline"
  | "blocked_too_long"
  | "waiting";

export interface Verdict {
  readonly outcome: GateOutcome;
  readonly rule: GateRule;
  readonly numbers: GateNumbers;
}

/** What the rule saw, so that a person can check the arithmetic. */
export interface GateNumbers extends ClassCounts {
  readonly members: number;
  readonly answered: number;
  readonly reasons: ReasonCounts;
}

/**
 * Judges a stage by five rules, in this order: a stopping reason above its limit fails; a stage that can no longer reach
 * 95 % fails at once; a stage that has answered passes with 95 % of the answers converged; a passed deadline, or a member
 * that has been blocked for too long, is inconclusive; everything else is pending.
 */
export function judge(facts: StageFacts, limits: GateLimits, nowMs: number): Verdict {
  const { counts } = facts;
  const members = memberTotal(counts);
  const answered = counts.converged + counts.failed + counts.rolledBack;
  const numbers: GateNumbers = { ...counts, members, answered, reasons: facts.reasons };

  if (STOPPING_REASONS.some((code) => facts.reasons[code] > limits.reasonsMax[code])) {
    return { outcome: "fail", rule: "reason_limit", numbers };
  }
  if ((members - counts.failed - counts.rolledBack) * 100 < CONVERGED_PCT_MIN * members) {
    return { outcome: "fail", rule: "unreachable", numbers };
  }
  if (members === 0 && facts.planned === 0) return { outcome: "pass", rule: "empty_stage", numbers };
  const awaited = facts.stage === "canary" ? members : members - counts.offline;
  if (answered === awaited && answered > 0 && counts.converged * 100 >= CONVERGED_PCT_MIN * answered) {
    return { outcome: "pass", rule: "converged_share", numbers };
  }
  if (nowMs >= limits.deadlineAtMs) return { outcome: "inconclusive", rule: "deadline", numbers };
  if (facts.blockedSinceMs !== null && nowMs - facts.blockedSinceMs > limits.blockedMaxAgeMs) {
    return { outcome: "inconclusive", rule: "blocked_too_long", numbers };
  }
  return { outcome: "pending", rule: "waiting", numbers };
}

/** The next moment at which the verdict may change although nothing is heard; null when only a report can change it. */
export function nextJudgementMs(facts: StageFacts, limits: GateLimits, verdict: Verdict): number | null {
  if (verdict.outcome !== "pending") return null;
  if (facts.blockedSinceMs === null) return limits.deadlineAtMs;
  return Math.min(limits.deadlineAtMs, facts.blockedSinceMs + limits.blockedMaxAgeMs + 1);
}

/** True when members of a planned stage were all taken out (decommissioned, excluded): nobody is left who could answer. */
export function isEmptied(facts: StageFacts): boolean {
  return facts.planned > 0 && memberTotal(facts.counts) === 0;
}

/** The share rule for a whole rollout: 95 % of all members converged. Nobody to converge is enough. */
export function isConverged(counts: ClassCounts): boolean {
  return counts.converged * 100 >= CONVERGED_PCT_MIN * memberTotal(counts);
}

export function noReasons(): Record<StoppingReason, number> {
  return { CRASH_LOOP_DETECTED: 0, READINESS_TIMEOUT: 0, VERIFY_SIGNATURE_FAILED: 0 };
}

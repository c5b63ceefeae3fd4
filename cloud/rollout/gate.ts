import type { GateVerdict, ReasonCode, RolloutMember } from "@muto/spec";
import { memberTotal } from "./classify.ts";
import type { ClassCounts } from "./classify.ts";

/*
 * The gate of one stage: facts in, verdict out. Percentages are compared by multiplying integers, so nothing is rounded.
 * Blocked, offline and waiting members are neither success nor failure; they stand beside the percentage.
 */

/** Whose members a gate judges. Soak judges the canaries again, watch judges both. */
export type Cast = NonNullable<RolloutMember["stage"]>;
export const CASTS = ["canary", "wave"] as const satisfies readonly Cast[];

/** Codes of which one report alone is reason enough to stop, unless the rollout allows some. */
export const STOPPING_REASONS = [
  "CRASH_LOOP_DETECTED",
  "READINESS_TIMEOUT",
  "VERIFY_SIGNATURE_FAILED",
] as const satisfies readonly ReasonCode[];
export type StoppingReason = (typeof STOPPING_REASONS)[number];
export type ReasonCounts = Readonly<Record<StoppingReason, number>>;

export interface GateFacts {
  readonly cast: Cast;
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
  /** Share of converged vehicles that passes; 95 or more. */
  readonly convergedPctMin: number;
  /** More than so many members with the code fail the stage. */
  readonly reasonsMax: ReasonCounts;
  /** Null when the stage has passed: time alone no longer makes it inconclusive. */
  readonly deadlineAtMs: number | null;
  readonly blockedMaxAgeMs: number | null;
}

export type GateOutcome = GateVerdict["verdict"];
export type GateRule = GateVerdict["rule"];

/** What was decided, by which rule, and the numbers that the rule saw, so that a person can check the arithmetic. */
export interface Verdict {
  readonly cast: Cast;
  readonly outcome: GateOutcome;
  readonly rule: GateRule;
  readonly counts: ClassCounts;
  readonly reasons: ReasonCounts;
}

/**
 * Judges a stage by five rules, in this order: a stopping reason above its limit fails; a stage that can no longer reach
 * its share fails at once; a stage that has answered passes with that share of the answers converged; a passed deadline, or
 * a member that has been blocked for too long, is inconclusive; everything else is pending.
 */
export function judge(facts: GateFacts, limits: GateLimits, nowMs: number): Verdict {
  const { cast, counts, reasons } = facts;
  const verdict = (outcome: GateOutcome, rule: GateRule): Verdict => ({ cast, outcome, rule, counts, reasons });
  const members = memberTotal(counts);
  const answered = counts.converged + counts.failed + counts.rolledBack;

  if (STOPPING_REASONS.some((code) => reasons[code] > limits.reasonsMax[code])) return verdict("fail", "reason-limit");
  if ((members - counts.failed - counts.rolledBack) * 100 < limits.convergedPctMin * members) {
    return verdict("fail", "cannot-pass");
  }
  if (members === 0 && facts.planned === 0) return verdict("pass", "nobody-planned");
  const awaited = cast === "canary" ? members : members - counts.offline;
  if (answered === awaited && answered > 0 && counts.converged * 100 >= limits.convergedPctMin * answered) {
    return verdict("pass", "answered");
  }
  if (limits.deadlineAtMs !== null && nowMs >= limits.deadlineAtMs) return verdict("inconclusive", "stage-deadline");
  if (isBlockedTooLong(facts, limits, nowMs)) return verdict("inconclusive", "blocked-too-long");
  return verdict("pending", "waiting");
}

function isBlockedTooLong(facts: GateFacts, limits: GateLimits, nowMs: number): boolean {
  if (facts.blockedSinceMs === null || limits.blockedMaxAgeMs === null) return false;
  return nowMs - facts.blockedSinceMs > limits.blockedMaxAgeMs;
}

/** The next moment at which a pending verdict may change although nothing is heard; null when only a report changes it. */
export function nextJudgementMs(facts: GateFacts, limits: GateLimits): number | null {
  const blocked =
    facts.blockedSinceMs === null || limits.blockedMaxAgeMs === null
      ? null
      : facts.blockedSinceMs + limits.blockedMaxAgeMs + 1;
  return earlier(limits.deadlineAtMs, blocked);
}

/** The earlier of two moments, of which either may not exist. */
export function earlier(left: number | null, right: number | null): number | null {
  if (left === null || right === null) return left ?? right;
  return Math.min(left, right);
}

/** True when all members of a planned stage were taken out of the fleet: nobody is left who could answer. */
export function isEmptied(facts: GateFacts): boolean {
  return facts.planned > 0 && memberTotal(facts.counts) === 0;
}

/** Whether anything went wrong among the members: then an inconclusive gate cannot be accepted. */
export function hasFailures(verdict: Verdict): boolean {
  const { counts, reasons } = verdict;
  return counts.failed + counts.rolledBack > 0 || STOPPING_REASONS.some((code) => reasons[code] > 0);
}

/** The share rule for a whole rollout, over all of its members. Nobody to converge is enough. */
export function isConverged(counts: ClassCounts, convergedPctMin: number): boolean {
  return counts.converged * 100 >= convergedPctMin * memberTotal(counts);
}

export function noReasons(): Record<StoppingReason, number> {
  return { CRASH_LOOP_DETECTED: 0, READINESS_TIMEOUT: 0, VERIFY_SIGNATURE_FAILED: 0 };
}

import type { RolloutOutcome, RolloutSettings } from "@muto/spec";
import { addCounts } from "./classify.ts";
import { progressOf } from "./facts.ts";
import type { CastProgress, RolloutFacts } from "./facts.ts";
import { earlier, isConverged, isEmptied, judge, nextJudgementMs } from "./gate.ts";
import type { Cast, GateLimits, GateRule, Verdict } from "./gate.ts";

/*
 * The rollout's state machine: facts in, verdicts and one next step out. Nothing decided is kept; whoever takes the step
 * does so in one transaction and asks again, so that a crash anywhere is just another starting state.
 *
 *   active        Steps forward are taken, one at a time, in the order canary, soak, wave, watch; no stage is ever skipped.
 *     canary      Only canaries hold the release. Ends when their gate passes, or a person accepts it.
 *     soak        As canary, for at least soakSec after the gate first passed; the gate must still pass at its end.
 *     wave        The other members get the release, never more than maxInFlight of those within reach at once. Members out
 *                 of reach get theirs at once, so that one short contact is enough for them.
 *     watch       Everybody has been given the release. The gates go on judging until watchUntil, and no longer (H11).
 *   paused        No step forward. Who has not begun to switch is withheld (H10). A failing gate or a withdrawn release
 *                 still turns the rollout back, unless the database was restored: then nothing happens by itself (H16).
 *   rolling_back  Every member that was given the release has been assigned the release it ran before, and never again the
 *                 new one. Ends when all within reach have answered, or at the deadline.
 *   rolled_back, completed   Ended: no step is ever taken again. Only a person's rollback leaves these states.
 *
 * The gate of every stage that has begun is judged at every step, so a canary that fails during the wave stops the wave.
 */

export type StopReason =
  | { readonly cause: "gate"; readonly cast: Cast; readonly rule: GateRule }
  | { readonly cause: "withdrawn" };

export type Step =
  | { readonly kind: "assignCanaries" }
  | { readonly kind: "startSoak"; readonly untilMs: number }
  | { readonly kind: "startWave" }
  /** Assigns every member out of reach, and at most `onlineMax` of those within. */
  | { readonly kind: "assignWave"; readonly onlineMax: number }
  | { readonly kind: "startWatch"; readonly untilMs: number }
  | { readonly kind: "complete"; readonly outcome: RolloutOutcome }
  | { readonly kind: "pauseInconclusive"; readonly cast: Cast; readonly rule: GateRule }
  | { readonly kind: "pauseRestored" }
  | { readonly kind: "withhold" }
  | { readonly kind: "rollBack"; readonly reason: StopReason }
  | { readonly kind: "finishRollback"; readonly outcome: RolloutOutcome }
  | { readonly kind: "wait"; readonly wakeAtMs: number | null };

/** The canaries are judged in every stage, the wave from its start on. */
export interface Verdicts {
  readonly canary: Verdict;
  readonly wave: Verdict | null;
}

export interface Decision {
  /** The gates of all stages that have begun. */
  readonly verdicts: Verdicts;
  readonly step: Step;
}

export function decide(facts: RolloutFacts): Decision {
  const canary = progressOf(facts, "canary");
  const wave = progressOf(facts, "wave");
  const verdicts = judgeBegun(facts, canary, wave);
  return { verdicts, step: nextStep(facts, { canary, wave }, verdicts) };
}

/** The verdict that speaks for the present stage: the wave's from its start on, unless the canaries' gate says stop. */
export function leadingVerdict(facts: RolloutFacts, { verdicts }: Decision): Verdict {
  const { canary, wave } = verdicts;
  return wave === null || canary.outcome === "fail" || facts.planned.wave === 0 ? canary : wave;
}

type Casts = Readonly<Record<Cast, CastProgress>>;

function nextStep(facts: RolloutFacts, casts: Casts, verdicts: Verdicts): Step {
  switch (facts.status) {
    case "active":
      if (facts.restored) return { kind: "pauseRestored" };
      // Everybody had the release already when it was planned: there is nothing to judge and nothing to watch.
      if (facts.planned.canary + facts.planned.wave === 0) return { kind: "complete", outcome: "clean" };
      return stopReason(facts, verdicts) ?? stepForward(facts, casts, verdicts);
    case "paused": {
      if (facts.restored || facts.pause === "restored-database") return { kind: "wait", wakeAtMs: null };
      const stop = stopReason(facts, verdicts);
      if (stop !== undefined) return stop;
      return casts.canary.mayStart + casts.wave.mayStart > 0 ? { kind: "withhold" } : { kind: "wait", wakeAtMs: null };
    }
    case "rolling_back":
      return stepBack(facts);
    case "rolled_back":
    case "completed":
      return { kind: "wait", wakeAtMs: null };
  }
}

/** Judges the canaries, and the wave from its start on. A gate that has passed is no longer under a clock. */
function judgeBegun(facts: RolloutFacts, canary: CastProgress, wave: CastProgress): Verdicts {
  const inWave = facts.stage === "wave" || facts.stage === "watch";
  return {
    canary: judge(canary, limitsOf(facts, !inWave), facts.nowMs),
    wave: inWave ? judge(wave, limitsOf(facts, facts.stage === "wave"), facts.nowMs) : null,
  };
}

/** What a rollout's settings say to the gate. */
export function gateLimits(settings: RolloutSettings): Pick<GateLimits, "convergedPctMin" | "reasonsMax"> {
  return {
    convergedPctMin: settings.convergedPercentMin,
    reasonsMax: {
      CRASH_LOOP_DETECTED: settings.limits.crashLoops,
      READINESS_TIMEOUT: settings.limits.readinessTimeouts,
      VERIFY_SIGNATURE_FAILED: settings.limits.signatureFailures,
    },
  };
}

function limitsOf({ settings, clockFromMs }: RolloutFacts, underClock: boolean): GateLimits {
  return {
    ...gateLimits(settings),
    deadlineAtMs: underClock ? clockFromMs + settings.stageDeadlineSec * 1000 : null,
    blockedMaxAgeMs: underClock ? settings.blockedMaxAgeSec * 1000 : null,
  };
}

function stopReason(facts: RolloutFacts, verdicts: Verdicts): Step | undefined {
  if (facts.withdrawn) return { kind: "rollBack", reason: { cause: "withdrawn" } };
  for (const verdict of [verdicts.canary, verdicts.wave]) {
    if (verdict?.outcome === "fail") {
      return { kind: "rollBack", reason: { cause: "gate", cast: verdict.cast, rule: verdict.rule } };
    }
  }
  return undefined;
}

function stepForward(facts: RolloutFacts, casts: Casts, verdicts: Verdicts): Step {
  switch (facts.stage) {
    case "canary":
    case "soak":
      return stepCanaries(facts, casts.canary, verdicts.canary);
    case "wave":
      return stepWave(facts, casts, verdicts.wave);
    case "watch":
      return stepWatch(facts, casts);
  }
}

function stepCanaries(facts: RolloutFacts, canary: CastProgress, verdict: Verdict): Step {
  const undecided = stillUndecided(facts, canary, verdict);
  if (undecided !== undefined) return undecided;
  if (leftToAssign(canary) > 0) return { kind: "assignCanaries" };
  const through = verdict.outcome === "pass" || facts.accepted;
  if (!through) return { kind: "wait", wakeAtMs: nextJudgementMs(canary, limitsOf(facts, true)) };
  if (facts.stage === "canary") return { kind: "startSoak", untilMs: facts.nowMs + facts.settings.soakSec * 1000 };
  const soakUntilMs = facts.soakUntilMs ?? facts.nowMs;
  return facts.nowMs < soakUntilMs ? { kind: "wait", wakeAtMs: soakUntilMs } : { kind: "startWave" };
}

function stepWave(facts: RolloutFacts, { canary, wave }: Casts, verdict: Verdict | null): Step {
  if (leftToAssign(canary) > 0) return { kind: "assignCanaries" };
  const undecided = stillUndecided(facts, wave, verdict);
  if (undecided !== undefined) return undecided;
  const assign = assignWave(facts, wave);
  if (assign !== undefined) return assign;
  const through = verdict?.outcome === "pass" || facts.accepted;
  if (through && leftToAssign(wave) === 0) {
    return { kind: "startWatch", untilMs: facts.nowMs + facts.settings.watchSec * 1000 };
  }
  // The pacing is full of members that a person was told of once already: tell again when the new deadline passes.
  if (verdict?.outcome === "inconclusive") return { kind: "pauseInconclusive", cast: "wave", rule: verdict.rule };
  return { kind: "wait", wakeAtMs: earlier(nextJudgementMs(wave, limitsOf(facts, true)), wave.nextOfflineMs) };
}

function stepWatch(facts: RolloutFacts, { canary, wave }: Casts): Step {
  if (leftToAssign(canary) > 0) return { kind: "assignCanaries" };
  const assign = assignWave(facts, wave);
  if (assign !== undefined) return assign;
  const watchUntilMs = facts.watchUntilMs ?? facts.nowMs;
  if (facts.nowMs < watchUntilMs) return { kind: "wait", wakeAtMs: earlier(watchUntilMs, wave.nextOfflineMs) };
  const all = addCounts(canary.counts, wave.counts);
  const clean = isConverged(all, facts.settings.convergedPercentMin);
  return { kind: "complete", outcome: clean ? "clean" : "stragglers" };
}

/** An inconclusive gate waits for a person, and so does a stage that has lost all of its members. */
function stillUndecided(facts: RolloutFacts, cast: CastProgress, verdict: Verdict | null): Step | undefined {
  if (facts.accepted || verdict === null) return undefined;
  if (verdict.outcome !== "inconclusive" && !isEmptied(cast)) return undefined;
  return { kind: "pauseInconclusive", cast: cast.cast, rule: verdict.rule };
}

/** Members that a person has accepted as blocked no longer hold the others up. */
function assignWave(facts: RolloutFacts, wave: CastProgress): Step | undefined {
  const inFlight = wave.inFlight.others + (facts.accepted ? 0 : wave.inFlight.blocked);
  const onlineMax = Math.max(0, facts.settings.maxInFlight - inFlight);
  const useful = wave.toAssign.offline > 0 || (wave.toAssign.online > 0 && onlineMax > 0);
  return useful ? { kind: "assignWave", onlineMax } : undefined;
}

function leftToAssign(cast: CastProgress): number {
  return cast.toAssign.online + cast.toAssign.offline;
}

function stepBack(facts: RolloutFacts): Step {
  const { returns, settings } = facts;
  const deadlineMs = facts.clockFromMs + settings.stageDeadlineSec * 1000;
  const answered = returns.converged + returns.failed;
  const heardOfAll = returns.open === 0 && (answered > 0 || returns.offline === 0);
  if (!heardOfAll && facts.nowMs < deadlineMs) {
    const nextOfflineMs = returns.lastSeenMs === null ? null : returns.lastSeenMs + facts.offlineAfterMs + 1;
    return { kind: "wait", wakeAtMs: earlier(deadlineMs, nextOfflineMs) };
  }
  const clean = returns.open + returns.offline + returns.failed + returns.without === 0;
  return { kind: "finishRollback", outcome: clean ? "clean" : "stragglers" };
}

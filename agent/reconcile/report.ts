import type { Evidence, ReasonCode, ReconcileReport, StackRef } from "@muto/spec";
import { wantedDigest, type Desired } from "./desired.ts";
import { driftKey, driftOf } from "./drift.ts";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { readingsOf } from "./readings.ts";
import { isUp } from "./workloads.ts";
import {
  isBarred,
  isChanging,
  nextAttempt,
  type AgentState,
  selectedSet,
  type Outcome,
  type Refusal,
  type Rollback,
  type SetRef,
  type Trial,
} from "./state.ts";
import type { Hold, Step } from "./step.ts";
import { keptUpSet } from "./upkeep.ts";
import { isTargetVerified } from "./verified.ts";

/** A reconcile report without what the outbox and the vehicle's key add to it. */
export type ReportDraft = Omit<
  ReconcileReport,
  "kind" | "vehicleId" | "reportId" | "installId" | "seq" | "bootId" | "at"
>;

export interface DueReport {
  readonly draft: ReportDraft;
  /** Equal keys say the same. */
  readonly key: string;
  /** An outcome, which must never be lost. */
  readonly terminal: boolean;
}

/**
 * The report that is due: a status that differs from the one that was sent last, or the same one an hour later. Undefined
 * when there is nothing to say. Nothing is reported that a storage fault could take back.
 */
export function dueReport(desired: Desired, observed: Observed, step: Step): DueReport | undefined {
  if (observed.storage === "faulted") return undefined;
  const verdict = verdictOf(desired, observed, step);
  if (verdict === undefined) return undefined;
  const drift = driftOf(observed);
  const draft = draftOf(verdict, observed, drift);
  const { desiredStateRevision, sequence, status, reasonCodes, phase } = draft;
  const shown = status === "applying" ? phase : "";
  const last = observed.state.lastReported;
  const said = [desiredStateRevision, sequence, status, shown, ...reasonCodes.toSorted()].join(" ");
  const [lastSaid, lastDrift = ""] = last?.key.split(DRIFT_FOLLOWS) ?? [];
  const manifest = observed.releases.get(keptUpSet(observed.state) ?? "")?.manifest;
  // While nobody can say what drifted, nobody says that it is over.
  const drifted = drift === undefined ? (isChanging(observed.state) ? "" : lastDrift) : driftKey(drift, manifest);
  const key = drifted === "" ? said : `${said}${DRIFT_FOLLOWS}${drifted}`;
  const sinceMs = last === null ? Number.POSITIVE_INFINITY : observed.now.wallMs - last.atMs;
  // A clock that was set back would otherwise silence the vehicle until it has caught up.
  if (last?.key === key && sinceMs >= 0 && sinceMs < LIMITS.reportRepeatMs) return undefined;
  const isAboutDrift = lastSaid === said && last?.key !== key;
  if (isAboutDrift && sinceMs >= 0 && sinceMs < LIMITS.driftReportMs) return undefined;
  const isOutcome = status === "converged" || status === "failed" || status === "rolled_back";
  // The outcome was said already; what drifts meanwhile must not crowd others out of the outbox.
  return { draft, key, terminal: isOutcome && !isAboutDrift };
}

/** Sets what drifted apart from the rest of a key; neither has this character. */
const DRIFT_FOLLOWS = "|";

interface Verdict extends Pick<
  ReportDraft,
  "status" | "phase" | "evidence" | "attempt" | "sequence" | "desiredStateRevision"
> {
  readonly reasonCodes: readonly ReasonCode[];
}

function verdictOf(desired: Desired, observed: Observed, step: Step): Verdict | undefined {
  const { state } = observed;
  if (state.rollback !== null) return ofRollback(state.rollback, step);
  if (state.trial !== null) return ofTrial(state.trial, step);
  // A newer assignment may have come while the change failed; its outcome is said all the same, before anything newer.
  const ended = state.lastReported === null ? ofEnd(desired, state) : undefined;
  if (ended !== undefined) return ended;
  if (state.refusal !== null) return ofRefusal(state.refusal);
  if (desired.assignment === null) return undefined;
  const { desiredStateRevision, sequence } = desired.assignment;
  const wanted = wantedDigest(desired);
  const about = { desiredStateRevision, sequence, attempt: nextAttempt(state, wanted ?? "") };
  const { outcome } = state;
  if (outcome !== null && isAbout(outcome, wanted, desiredStateRevision)) return { ...ofOutcome(outcome), sequence };
  if (wanted === state.active?.manifestDigest) return ofActive(about, observed, step);
  const inDistress = outcome?.kind === "failed" && outcome.to !== null && isBarred(state, wanted ?? "");
  // Until the last good set is up again there is nothing more urgent to say than that it is not.
  if (inDistress && step.kind === "hold") return { ...ofOutcome(outcome), desiredStateRevision, sequence };
  return ofPreparation(about, observed, step);
}

/** A change has just ended, well or not, and has not been told; what is wanted now may be something else already. */
function ofEnd(desired: Desired, { outcome, active }: AgentState): Verdict | undefined {
  if (outcome !== null) return ofOutcome(outcome);
  if (active === null || active.manifestDigest === wantedDigest(desired)) return undefined;
  const { desiredStateRevision, sequence } = active;
  return { ...CONVERGED, desiredStateRevision, sequence, attempt: 1 };
}

const CONVERGED = { status: "converged", phase: "idle", reasonCodes: [], evidence: [] } as const;

type About = Pick<Verdict, "desiredStateRevision" | "sequence" | "attempt">;

/**
 * An outcome answers the assignment that it came of, and a failed return also answers whoever wants the very set that does
 * not come up. A mere re-issue of a failed release is another assignment and gets the quarantine as its answer (H15).
 */
function isAbout(outcome: Outcome, wanted: string | null, revision: string): boolean {
  if (outcome.from.manifestDigest === wanted && outcome.desiredStateRevision === revision) return true;
  return outcome.kind === "failed" && outcome.to?.manifestDigest === wanted;
}

function ofOutcome({ kind, cause, desiredStateRevision, sequence, attempt }: Outcome): Verdict {
  const returned: ReasonCode = kind === "applied" ? "ROLLBACK_APPLIED" : "ROLLBACK_FAILED";
  return {
    status: kind === "applied" ? "rolled_back" : "failed",
    phase: kind === "applied" ? "idle" : "hold",
    reasonCodes: [...cause.reasonCodes, returned],
    evidence: cause.evidence,
    desiredStateRevision,
    sequence,
    attempt,
  };
}

function ofRollback(rollback: Rollback, step: Step): Verdict {
  const { cause, desiredStateRevision, sequence, attempt } = rollback;
  const about = { desiredStateRevision, sequence, attempt };
  if (step.kind === "hold") return ofHold(about, step);
  return { ...about, status: "applying", phase: "rollback", reasonCodes: cause.reasonCodes, evidence: cause.evidence };
}

const TRIAL_PHASES = { stopping: "switch", starting: "switch", probing: "probe", probation: "probation" } as const;

function ofTrial(trial: Trial, step: Step): Verdict {
  const { desiredStateRevision, sequence } = trial.set;
  const about = { desiredStateRevision, sequence, attempt: trial.attempt };
  const waiting = step.kind === "hold" ? step : undefined;
  return {
    ...about,
    status: "applying",
    phase: TRIAL_PHASES[trial.phase],
    reasonCodes: waiting?.reasons ?? [],
    evidence: waiting?.evidence ?? [],
  };
}

/** Made of what the refused document itself proves: a forged one names nothing, so it is nobody's failure. */
function ofRefusal({ reasonCode, evidence, sequence, desiredStateRevision }: Refusal): Verdict {
  return {
    status: "failed",
    phase: "verify",
    reasonCodes: [reasonCode],
    evidence,
    desiredStateRevision,
    sequence: sequence ?? 0,
    attempt: 0,
  };
}

/** What is wanted is committed. A missing manifest or a set that is not up yet after a boot is work in progress. */
function ofActive(about: About, observed: Observed, step: Step): Verdict | undefined {
  const digest = observed.state.active?.manifestDigest ?? "";
  const release = observed.releases.get(digest);
  if (release === undefined) return step.kind === "hold" ? ofHold(about, step) : undefined;
  if (!isUp(observed, digest, release.manifest)) return undefined;
  return { ...about, ...CONVERGED };
}

function ofPreparation(about: About, observed: Observed, step: Step): Verdict | undefined {
  switch (step.kind) {
    case "hold":
      return ofHold(about, step);
    case "fetchRelease":
    case "download": {
      const trouble = observed.seen.download?.subject === step.digest ? observed.seen.download : null;
      if (trouble === null) return applying(about, step.kind === "download" ? "download" : "verify");
      // A new try is no news until it succeeds: the trouble is reported once per change.
      return {
        ...applying(about, "download"),
        status: "blocked",
        reasonCodes: codesOf(trouble.evidence),
        evidence: trouble.evidence,
      };
    }
    case "stage":
      return observed.seen.stage === null ? applying(about, "stage") : undefined;
    case "switch":
    case "probe":
    case "commit":
    case "rollback":
    case "restart":
    case "clean":
    case "settled":
      return undefined;
  }
}

function ofHold(about: About, { status, phase, reasons, evidence }: Hold): Verdict {
  return { ...about, status, phase, reasonCodes: reasons, evidence };
}

function applying(about: About, phase: Verdict["phase"]): Verdict {
  return { ...about, status: "applying", phase, reasonCodes: [], evidence: [] };
}

const REPORTED_EVIDENCE_MAX = 64;

function draftOf(verdict: Verdict, observed: Observed, drift: ReportDraft["drift"]): ReportDraft {
  const { state } = observed;
  const selected = selectedSet(state);
  return {
    ...verdict,
    reasonCodes: [...new Set(verdict.reasonCodes)],
    evidence: verdict.evidence.slice(0, REPORTED_EVIDENCE_MAX),
    timings: state.timings,
    stack: selected === null ? null : stackRef(selected),
    set: nameOf(selected, observed),
    committed: state.active === null ? null : stackRef(state.active),
    rollbackReady: isTargetVerified(observed),
    probes: readingsOf(observed),
    ...(drift !== undefined && { drift }),
  };
}

export function stackRef({ stackName, version, manifestDigest }: SetRef): StackRef {
  return { name: stackName, version, manifestDigest };
}

function nameOf(selected: SetRef | null, { state }: Observed): ReportDraft["set"] {
  if (selected === null) return null;
  if (selected.manifestDigest === state.active?.manifestDigest) return "active";
  return selected.manifestDigest === state.previous?.manifestDigest ? "previous" : "staged";
}

function codesOf(evidence: readonly Evidence[]): readonly ReasonCode[] {
  return [...new Set(evidence.map(({ reasonCode }) => reasonCode))];
}

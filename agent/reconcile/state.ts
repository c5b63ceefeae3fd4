import type { Assignment, AssignmentOffer, Evidence, ReasonCode } from "@muto/spec";
import { nothingKnown, type TimeKnowledge } from "../safety/clock-trust.ts";

/*
 * What the agent must still know after any crash, and nothing else. It changes only by folding journal records
 * (records.ts). A record of an intent is durable before its effect begins, so every value below is also a place where a
 * crash may leave the vehicle, and planNext starts again from there.
 *
 *   trial     the old stack is being, or was, stopped in favour of another set that is not committed yet.
 *   rollback  a set failed; what was good before it is being brought back.
 *   neither   the active set (or nothing, when there is none) is what should run; a change may be prepared beside it.
 *
 * trial and rollback are never set at the same time. Named sets: `active` is committed, `previous` was committed before
 * it, `staged` is prepared and not committed. A failed set never becomes active or previous.
 */
export interface AgentState {
  readonly floors: Floors;
  /** What signed documents say of the time; its floor never falls (H20). */
  readonly time: TimeKnowledge;
  /** The newest authentic assignment; what the cloud wants of this vehicle. */
  readonly accepted: Accepted | null;
  /** Why the newest offer was not accepted; lasts while its inputs are unchanged (H14). */
  readonly refusal: Refusal | null;
  readonly active: SetRef | null;
  readonly previous: SetRef | null;
  readonly staged: SetRef | null;
  readonly trial: Trial | null;
  readonly rollback: Rollback | null;
  /** How the last change that failed ended; stands until another change begins or its release is no longer wanted. */
  readonly outcome: Outcome | null;
  /** Releases that failed here, by manifest digest; lifted only by an assignment with `retry` (H15). */
  readonly quarantine: readonly Quarantined[];
  /** Unexpected ends of workloads, oldest first, bounded; a crash loop is counted from these. */
  readonly exits: readonly ExitNote[];
  /** Wall time at which the bytes of the active set were last found whole (H9). */
  readonly rollbackVerifiedAtMs: number | null;
  readonly timings: ChangeTimings;
  readonly lastReported: Reported | null;
  /** Bytes fetched in the day that began then; null before the first. */
  readonly spent: Spent | null;
}

export interface Spent {
  readonly sinceMs: number;
  readonly bytes: number;
}

/** Numbers that never fall (except through a verified rotation of the root), persisted before they are acted on. */
export interface Floors {
  /** Falls to nothing when the key that raised it is taken out of the trust root, and then only. */
  readonly sequence: number;
  /** Raised when a release with a higher `securityEpoch` is committed. */
  readonly epoch: number;
}

export interface Accepted {
  readonly offer: AssignmentOffer;
  readonly assignment: Assignment;
  readonly atMs: number;
}

export interface Refusal {
  /** Hash of the offer's bytes. */
  readonly offerHash: string;
  /** Hash of the trust root and of the vehicle's facts; a refusal made under others is void. */
  readonly contextHash: string;
  readonly reasonCode: ReasonCode;
  readonly evidence: readonly Evidence[];
  /** Named by a document that verified; null when nothing did. */
  readonly sequence: number | null;
  readonly desiredStateRevision: string | null;
}

export interface SetRef {
  readonly manifestDigest: string;
  readonly stackName: string;
  readonly version: string;
  /** The assignment under which this set was staged. */
  readonly desiredStateRevision: string;
  readonly sequence: number;
  /** Path in the registry, so that a damaged set can be fetched again. */
  readonly repository: string;
}

/** A moment that can be compared within one boot, whatever the wall clock does. */
export interface Instant {
  readonly bootId: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/**
 * stopping   intent to stop the old stack; gates were open. While none of it has been stopped yet, gates are asked again.
 * starting   nothing of the old stack runs any more; the new one is being started.
 * probing    everything was started; readiness is awaited.
 * probation  the new stack was ready; it must now go on without crash loop for powered seconds.
 */
export type TrialPhase = "stopping" | "starting" | "probing" | "probation";

export interface Trial {
  readonly changeId: string;
  readonly set: SetRef;
  readonly from: SetRef | null;
  readonly phase: TrialPhase;
  readonly attempt: number;
  readonly begun: Instant;
  /** When the phase was entered, or resumed in a later boot. */
  readonly since: Instant;
  /** Restarts of the computer during the trial (H22). */
  readonly reboots: number;
  /** Probation already counted in full, up to `since`. */
  readonly poweredMs: number;
  /** What the old stack's probes showed just before the switch (H23). */
  readonly before: readonly ProbeBefore[];
  /** Of this change so far; for the report. */
  readonly timings: ChangeTimings;
}

export interface ProbeBefore {
  readonly probe: string;
  readonly met: boolean;
}

/**
 * pending   decided, but the failing stack was ready once: it is stopped only through the motion and mode gates (H4).
 * stopping  the failing stack is being stopped.
 * starting  nothing of it runs any more; the good set is being started.
 * probing   the good set was started; its readiness is awaited.
 */
export type RollbackPhase = "pending" | "stopping" | "starting" | "probing";

export interface Rollback {
  readonly changeId: string;
  readonly from: SetRef;
  /** Null after a first installation: there is nothing to return to. */
  readonly to: SetRef | null;
  readonly phase: RollbackPhase;
  /** The failing set was ready once, so the vehicle may rely on it: it is left only through the gates (H4). */
  readonly wasReady: boolean;
  /** Codes and numbers of the failure; empty codes mean that the operator called the trial back, which blames nobody. */
  readonly cause: Cause;
  readonly attempt: number;
  readonly desiredStateRevision: string;
  readonly sequence: number;
  readonly begun: Instant;
  readonly since: Instant;
  readonly before: readonly ProbeBefore[];
}

export interface Cause {
  readonly reasonCodes: readonly ReasonCode[];
  readonly evidence: readonly Evidence[];
}

/** `applied`: the good set runs again. `failed`: it does not yet, or there is none; ROLLBACK_FAILED stands. */
export interface Outcome {
  readonly kind: "applied" | "failed";
  readonly from: SetRef;
  readonly to: SetRef | null;
  readonly cause: Cause;
  readonly attempt: number;
  readonly desiredStateRevision: string;
  readonly sequence: number;
  readonly atMs: number;
}

export interface Quarantined {
  readonly manifestDigest: string;
  readonly sinceMs: number;
  readonly reasonCodes: readonly ReasonCode[];
  /** Tries so far; a lifted and failed release counts on. */
  readonly attempts: number;
  /** False after `retry`: it may be tried again, and the number of tries is kept. */
  readonly barred: boolean;
}

export interface ExitNote {
  readonly instanceId: string;
  /** Manifest digest. */
  readonly set: string;
  readonly workload: string;
  readonly at: Instant;
  readonly code: number | null;
  readonly signal: string | null;
  /** There when it ran and did not answer its liveness probes, and was therefore stopped (H24); noted before the stop. */
  readonly hung?: true;
  /** There when nothing of ours ended: its launcher reported that so many more of its nodes died, and how many it were by then. */
  readonly deaths?: { readonly added: number; readonly total: number };
}

export interface ChangeTimings {
  readonly downloadSec?: number;
  readonly applySec?: number;
  readonly readinessSec?: number;
  readonly rollbackSec?: number;
}

export interface Reported {
  readonly key: string;
  readonly atMs: number;
}

export const QUARANTINE_MAX = 64;
/** Places for what is committed already and may still fail. */
const QUARANTINE_RESERVE = 2;
export const EXITS_MAX = 256;
export const EVIDENCE_KEPT_MAX = 32;

export const EMPTY_STATE: AgentState = {
  floors: { sequence: 0, epoch: 0 },
  time: nothingKnown,
  accepted: null,
  refusal: null,
  active: null,
  previous: null,
  staged: null,
  trial: null,
  rollback: null,
  outcome: null,
  quarantine: [],
  exits: [],
  rollbackVerifiedAtMs: null,
  timings: {},
  lastReported: null,
  spent: null,
};

/** The one set that should run now; null is the safe hold, or a vehicle that never had one. */
export function selectedSet(state: AgentState): SetRef | null {
  if (state.rollback !== null) return state.rollback.phase === "pending" ? state.rollback.from : state.rollback.to;
  return state.trial?.set ?? state.active;
}

/** Whether a change is under way that has begun, or may have begun, to stop something. */
export function isChanging(state: AgentState): boolean {
  if (state.rollback !== null) return state.rollback.phase !== "pending";
  return state.trial !== null && state.trial.phase !== "probation";
}

/** A return that nobody may decline: the set that runs has failed. Empty codes mean that an operator called it back. */
export function isForced(rollback: Rollback | null): boolean {
  return rollback !== null && rollback.cause.reasonCodes.length > 0;
}

export function isBarred(state: AgentState, manifestDigest: string): boolean {
  return state.quarantine.some((entry) => entry.manifestDigest === manifestDigest && entry.barred);
}

/**
 * Whether another failure could be remembered. While it could not, no release is tried that is not on the list already: forgetting
 * one that failed would let a mere re-issue run it again (H15).
 */
export function hasRoomToFail(state: AgentState, manifestDigest: string): boolean {
  if (state.quarantine.some((entry) => entry.manifestDigest === manifestDigest)) return true;
  return state.quarantine.filter(({ barred }) => barred).length < QUARANTINE_MAX - QUARANTINE_RESERVE;
}

/** Which tries of this release this would be, counted from 1. */
export function nextAttempt(state: AgentState, manifestDigest: string): number {
  return (state.quarantine.find((entry) => entry.manifestDigest === manifestDigest)?.attempts ?? 0) + 1;
}

/** Milliseconds since then; null when the computer was restarted in between, for nobody knows how long it was off. */
export function elapsedMs(now: Instant, since: Instant): number | null {
  return now.bootId === since.bootId ? Math.max(0, now.monotonicMs - since.monotonicMs) : null;
}

import type { Evidence, ReasonCode } from "@muto/spec";
import type { TimeKnowledge } from "../safety/clock-trust.ts";
import { keptCause, keptEvidence } from "./evidence.ts";
import {
  EXITS_MAX,
  QUARANTINE_MAX,
  type Accepted,
  type AgentState,
  type Cause,
  type ChangeTimings,
  type ExitNote,
  type Instant,
  type Outcome,
  type Quarantined,
  type Refusal,
  type Reported,
  type Rollback,
  type RollbackPhase,
  type SetRef,
  type Trial,
  type TrialPhase,
} from "./state.ts";

/** Everything that ever changes the durable state. `snapshot` stands for all records before it, after a compaction. */
export type JournalRecord =
  | { readonly kind: "snapshot"; readonly state: AgentState }
  | { readonly kind: "time-learned"; readonly time: TimeKnowledge }
  | { readonly kind: "accepted"; readonly accepted: Accepted }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "refusal-cleared" }
  /** The key that signed the highest sequence is trusted no more: its number binds nobody (fast-forward with a stolen key). */
  | { readonly kind: "sequence-reset" }
  | { readonly kind: "staged"; readonly set: SetRef; readonly timings: ChangeTimings }
  | { readonly kind: "unstaged" }
  | { readonly kind: "target-verified"; readonly manifestDigest: string; readonly atMs: number }
  | { readonly kind: "target-damaged"; readonly manifestDigest: string }
  | { readonly kind: "trial-begun"; readonly trial: Trial }
  | { readonly kind: "trial-phase"; readonly phase: TrialPhase; readonly at: Instant; readonly timings: ChangeTimings }
  /** Nothing had been stopped yet, and the gates closed again. */
  | { readonly kind: "trial-abandoned" }
  | { readonly kind: "trial-rebooted"; readonly at: Instant }
  | { readonly kind: "trial-powered"; readonly poweredMs: number; readonly at: Instant }
  | { readonly kind: "committed"; readonly securityEpoch: number; readonly atMs: number }
  | { readonly kind: "rollback-begun"; readonly rollback: Rollback }
  | {
      readonly kind: "rollback-phase";
      readonly phase: RollbackPhase;
      readonly at: Instant;
      /** What the return could not wait for; absent when nothing was missing. */
      readonly evidence?: Cause["evidence"];
    }
  | {
      readonly kind: "rollback-ended";
      readonly outcome: "applied" | "failed";
      /** What went wrong with the return itself. */
      readonly evidence: Cause["evidence"];
      readonly atMs: number;
      readonly timings: ChangeTimings;
    }
  /** The set that a failed rollback selected runs after all. */
  | { readonly kind: "recovered"; readonly atMs: number }
  /** A committed set that crash-loops, and nothing to return to: it stays selected and is restarted for ever. */
  | { readonly kind: "stranded"; readonly outcome: Outcome }
  | { readonly kind: "exited"; readonly exit: ExitNote }
  | { readonly kind: "reported"; readonly reported: Reported }
  | { readonly kind: "spent"; readonly bytes: number; readonly atMs: number; readonly newDay: boolean };

/** Pure and total: a record that does not fit the state (a bug, or bytes that lie) leaves it unchanged. */
export function applyRecord(state: AgentState, record: JournalRecord): AgentState {
  switch (record.kind) {
    case "snapshot":
      return record.state;
    case "time-learned":
      return { ...state, time: { ...record.time, floorMs: higher(state.time.floorMs, record.time.floorMs) } };
    case "accepted":
      return accept(state, record.accepted);
    case "refused":
      return { ...state, refusal: record.refusal };
    case "refusal-cleared":
      return { ...state, refusal: null };
    case "sequence-reset":
      if (state.floors.sequence === 0) return state;
      return { ...state, floors: { ...state.floors, sequence: 0 }, refusal: null };
    case "staged":
      return { ...state, staged: record.set, timings: record.timings };
    case "unstaged":
      return { ...state, staged: null };
    case "target-verified":
      if (state.active?.manifestDigest !== record.manifestDigest) return state;
      return { ...state, rollbackVerifiedAtMs: record.atMs };
    case "target-damaged":
      if (state.active?.manifestDigest !== record.manifestDigest) return state;
      return { ...state, rollbackVerifiedAtMs: null };
    case "trial-begun":
    case "trial-phase":
    case "trial-abandoned":
    case "trial-rebooted":
    case "trial-powered":
    case "committed":
      return applyToTrial(state, record);
    case "rollback-begun":
      return {
        ...state,
        trial: null,
        outcome: null,
        rollback: { ...record.rollback, cause: keptCause(record.rollback.cause) },
      };
    case "rollback-phase":
      return state.rollback === null ? state : { ...state, rollback: enterPhase(state.rollback, record) };
    case "rollback-ended":
      return state.rollback === null ? state : untold(endRollback(state, state.rollback, record));
    case "recovered":
      if (state.outcome?.kind !== "failed") return state;
      return untold({ ...state, outcome: { ...state.outcome, kind: "applied", atMs: record.atMs } });
    case "stranded":
      return untold({ ...state, outcome: { ...record.outcome, cause: keptCause(record.outcome.cause) } });
    case "exited":
      return noteExit(state, record.exit);
    case "reported":
      return { ...state, lastReported: record.reported };
    case "spent": {
      const before = record.newDay ? null : state.spent;
      const sinceMs = before?.sinceMs ?? record.atMs;
      return { ...state, spent: { sinceMs, bytes: (before?.bytes ?? 0) + record.bytes } };
    }
  }
}

function enterPhase(rollback: Rollback, record: Extract<JournalRecord, { kind: "rollback-phase" }>): Rollback {
  const { phase, at: since, evidence = [] } = record;
  // A return that goes back to waiting and begins again says it once.
  const isSaid = ({ kind }: Evidence) => rollback.cause.evidence.some((known) => known.kind === kind);
  const more = evidence.filter((item) => !isSaid(item));
  return { ...rollback, phase, since, cause: keptCause(rollback.cause, more) };
}

/** How a change that failed ended is the next thing to be said, whatever has been asked for meanwhile: no outcome stays silent. */
function untold(state: AgentState): AgentState {
  return state.outcome === null ? state : { ...state, lastReported: null };
}

type TrialRecord = Extract<
  JournalRecord,
  { kind: "trial-begun" | "trial-phase" | "trial-abandoned" | "trial-rebooted" | "trial-powered" | "committed" }
>;

function applyToTrial(state: AgentState, record: TrialRecord): AgentState {
  if (record.kind === "trial-begun")
    return { ...state, trial: record.trial, outcome: null, timings: record.trial.timings };
  const trial = state.trial;
  if (trial === null) return state;
  switch (record.kind) {
    case "trial-phase": {
      const timings = { ...trial.timings, ...record.timings };
      return { ...state, timings, trial: { ...trial, phase: record.phase, since: record.at, poweredMs: 0, timings } };
    }
    case "trial-abandoned":
      return { ...state, trial: null };
    case "trial-rebooted":
      return { ...state, trial: { ...trial, reboots: trial.reboots + 1, since: record.at } };
    case "trial-powered":
      return { ...state, trial: { ...trial, poweredMs: record.poweredMs, since: record.at } };
    case "committed":
      return {
        ...state,
        floors: { ...state.floors, epoch: Math.max(state.floors.epoch, record.securityEpoch) },
        active: trial.set,
        // The set that was committed before is the one to return to; a failed first try leaves what there was.
        previous: state.active ?? state.previous,
        staged: null,
        trial: null,
        outcome: null,
        lastReported: null,
        rollbackVerifiedAtMs: record.atMs,
        quarantine: state.quarantine.filter((entry) => entry.manifestDigest !== trial.set.manifestDigest),
      };
  }
}

/**
 * Floors rise first and never fall; `retry` lifts a quarantine, once for each sequence, and a mere re-issue does not (H15): the same
 * document in another wrapper is no second permission.
 */
function accept(state: AgentState, accepted: Accepted): AgentState {
  const { assignment } = accepted;
  if (assignment.sequence < state.floors.sequence) return state;
  const wanted = assignment.stack.manifestDigest;
  const issuedAtMs = Date.parse(assignment.issuedAt);
  const before = state.accepted?.assignment;
  const isSame =
    before?.sequence === assignment.sequence && before.desiredStateRevision === assignment.desiredStateRevision;
  const lifts = assignment.retry && assignment.sequence > state.floors.sequence && !isSame;
  return {
    ...state,
    floors: { ...state.floors, sequence: Math.max(state.floors.sequence, assignment.sequence) },
    time: { ...state.time, floorMs: higher(state.time.floorMs, Number.isFinite(issuedAtMs) ? issuedAtMs : null) },
    accepted,
    refusal: null,
    quarantine: lifts ? state.quarantine.map((entry) => unbar(entry, wanted)) : state.quarantine,
    outcome: lifts && state.outcome?.from.manifestDigest === wanted ? null : state.outcome,
  };
}

function higher(known: number | null, learnt: number | null): number | null {
  if (known === null || learnt === null) return known ?? learnt;
  return Math.max(known, learnt);
}

function unbar(entry: Quarantined, manifestDigest: string): Quarantined {
  return entry.manifestDigest === manifestDigest ? { ...entry, barred: false } : entry;
}

function endRollback(
  state: AgentState,
  rollback: Rollback,
  record: Extract<JournalRecord, { kind: "rollback-ended" }>,
): AgentState {
  const { from, to, cause } = rollback;
  const blamed = cause.reasonCodes.length > 0;
  const wasCommitted = state.active?.manifestDigest === from.manifestDigest;
  return {
    ...state,
    rollback: null,
    active: wasCommitted ? to : state.active,
    previous: wasCommitted ? null : state.previous,
    // A set that was called back without blame stays prepared; a failed one is thrown away by the next cleaning.
    staged: blamed ? null : state.staged,
    timings: record.timings,
    quarantine: blamed ? bar(state.quarantine, from, cause.reasonCodes, record.atMs) : state.quarantine,
    outcome: blamed || record.outcome === "failed" ? outcomeOf(rollback, record) : null,
    exits: state.exits.filter((exit) => exit.set !== from.manifestDigest),
  };
}

function outcomeOf(rollback: Rollback, record: Extract<JournalRecord, { kind: "rollback-ended" }>): Outcome {
  const { from, to, cause, attempt, desiredStateRevision, sequence } = rollback;
  const evidence = keptEvidence(cause.evidence, record.evidence);
  const known = { from, to, attempt, desiredStateRevision, sequence, atMs: record.atMs };
  return { kind: record.outcome, ...known, cause: { reasonCodes: cause.reasonCodes, evidence } };
}

function bar(
  quarantine: readonly Quarantined[],
  set: SetRef,
  reasonCodes: readonly ReasonCode[],
  sinceMs: number,
): readonly Quarantined[] {
  const { manifestDigest } = set;
  const attempts = (quarantine.find((entry) => entry.manifestDigest === manifestDigest)?.attempts ?? 0) + 1;
  const others = quarantine.filter((entry) => entry.manifestDigest !== manifestDigest);
  const entry = { manifestDigest, sinceMs, reasonCodes, attempts, barred: true };
  return [...withRoom(others), entry];
}

/** Only what may be tried again is forgotten, the oldest first. No change begins without room, so the last resort is none. */
function withRoom(quarantine: readonly Quarantined[]): readonly Quarantined[] {
  if (quarantine.length < QUARANTINE_MAX) return quarantine;
  const lifted = quarantine.find(({ barred }) => !barred);
  return lifted === undefined ? quarantine.slice(1) : quarantine.filter((entry) => entry !== lifted);
}

/** Counted once, however often the same end, or the same deaths, are seen. */
function noteExit(state: AgentState, exit: ExitNote): AgentState {
  const known = state.exits.filter((one) => one.instanceId === exit.instanceId);
  const isKnown = known.some(({ deaths }) =>
    exit.deaths === undefined ? deaths === undefined : (deaths?.total ?? 0) >= exit.deaths.total,
  );
  return isKnown ? state : { ...state, exits: [...state.exits, exit].slice(-EXITS_MAX) };
}

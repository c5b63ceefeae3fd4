import { parseEvidence, parseJson, parseLatestDesired, parseAssignment, REASON_CODES } from "@muto/spec";
import type { Assignment, AssignmentOffer, Evidence, ReasonCode } from "@muto/spec";
import type { TimeAnchor, TimeKnowledge } from "../safety/clock-trust.ts";
import { fieldsOf, Malformed, readNumber, readOneOf, readText, type Fields, type Reader } from "./fields.ts";
import type { JournalRecord } from "./records.ts";
import * as state from "./state.ts";

/** A snapshot of the largest state fits: two offers' worth of signatures, full lists of exits and quarantine. */
export const RECORD_BYTES_MAX = 1_000_000;

export type ParsedRecord =
  | { readonly ok: true; readonly record: JournalRecord }
  /** `at` is a JSON pointer into the record; never its content. */
  | { readonly ok: false; readonly at: string };

export function encodeRecord(record: JournalRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record));
}

/** The disk is an edge: what comes back from it is parsed as strictly as what comes from the network. */
export function parseRecord(bytes: Uint8Array): ParsedRecord {
  const json = parseJson(bytes, { bytesMax: RECORD_BYTES_MAX, depthMax: 32 });
  if (!json.ok) return { ok: false, at: "" };
  try {
    return { ok: true, record: readRecord(json.value) };
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, at: error.message };
    throw error;
  }
}

/** What a compaction leaves in place of everything that was written so far. */
export function snapshotRecord(of: state.AgentState): JournalRecord {
  return { kind: "snapshot", state: of };
}

const KINDS = [
  "snapshot",
  "time-learned",
  "accepted",
  "refused",
  "refusal-cleared",
  "sequence-reset",
  "staged",
  "unstaged",
  "target-verified",
  "target-damaged",
  "trial-begun",
  "trial-phase",
  "trial-abandoned",
  "trial-rebooted",
  "trial-powered",
  "committed",
  "rollback-begun",
  "rollback-phase",
  "rollback-ended",
  "recovered",
  "stranded",
  "exited",
  "reported",
  "spent",
] as const satisfies readonly JournalRecord["kind"][];

const TRIAL_PHASES = ["stopping", "starting", "probing", "probation"] as const satisfies readonly state.TrialPhase[];
const ROLLBACK_PHASES = [
  "pending",
  "stopping",
  "starting",
  "probing",
] as const satisfies readonly state.RollbackPhase[];
const OUTCOMES = ["applied", "failed"] as const;
const DIGEST = /^sha256:[a-f0-9]{64}$/;

function readRecord(value: unknown): JournalRecord {
  const fields = fieldsOf(value, "");
  const kind = fields.oneOf("kind", KINDS);
  switch (kind) {
    case "snapshot":
      return { kind, state: fields.of("state", readState) };
    case "time-learned":
      return { kind, time: fields.of("time", readTime) };
    case "accepted":
      return { kind, accepted: fields.of("accepted", readAccepted) };
    case "refused":
      return { kind, refusal: fields.of("refusal", readRefusal) };
    case "refusal-cleared":
    case "sequence-reset":
    case "unstaged":
    case "trial-abandoned":
      return { kind };
    case "staged":
      return { kind, set: fields.of("set", readSetRef), timings: fields.of("timings", readTimings) };
    case "target-verified":
      return { kind, manifestDigest: fields.text("manifestDigest", DIGEST), atMs: fields.number("atMs") };
    case "target-damaged":
      return { kind, manifestDigest: fields.text("manifestDigest", DIGEST) };
    case "trial-begun":
      return { kind, trial: fields.of("trial", readTrial) };
    case "trial-phase":
      return {
        kind,
        phase: fields.oneOf("phase", TRIAL_PHASES),
        at: fields.of("at", readInstant),
        timings: fields.of("timings", readTimings),
      };
    case "trial-rebooted":
      return { kind, at: fields.of("at", readInstant) };
    case "trial-powered":
      return { kind, poweredMs: fields.number("poweredMs"), at: fields.of("at", readInstant) };
    case "committed":
      return { kind, securityEpoch: fields.count("securityEpoch"), atMs: fields.number("atMs") };
    case "rollback-begun":
      return { kind, rollback: fields.of("rollback", readRollback) };
    case "rollback-phase":
      return {
        kind,
        phase: fields.oneOf("phase", ROLLBACK_PHASES),
        at: fields.of("at", readInstant),
        ...(fields.has("evidence") ? { evidence: fields.list("evidence", readEvidence, state.EVIDENCE_KEPT_MAX) } : {}),
      };
    case "rollback-ended":
      return {
        kind,
        outcome: fields.oneOf("outcome", OUTCOMES),
        evidence: fields.list("evidence", readEvidence, state.EVIDENCE_KEPT_MAX),
        atMs: fields.number("atMs"),
        timings: fields.of("timings", readTimings),
      };
    case "recovered":
      return { kind, atMs: fields.number("atMs") };
    case "stranded":
      return { kind, outcome: fields.of("outcome", readOutcome) };
    case "exited":
      return { kind, exit: fields.of("exit", readExit) };
    case "reported":
      return { kind, reported: fields.of("reported", readReported) };
    case "spent":
      return { kind, bytes: fields.count("bytes"), atMs: fields.number("atMs"), newDay: fields.flag("newDay") };
  }
}

const readState: Reader<state.AgentState> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    floors: fields.of("floors", readFloors),
    time: fields.of("time", readTime),
    accepted: fields.nullable("accepted", readAccepted),
    refusal: fields.nullable("refusal", readRefusal),
    active: fields.nullable("active", readSetRef),
    previous: fields.nullable("previous", readSetRef),
    staged: fields.nullable("staged", readSetRef),
    trial: fields.nullable("trial", readTrial),
    rollback: fields.nullable("rollback", readRollback),
    outcome: fields.nullable("outcome", readOutcome),
    quarantine: fields.list("quarantine", readQuarantined, state.QUARANTINE_MAX),
    exits: fields.list("exits", readExit, state.EXITS_MAX),
    rollbackVerifiedAtMs: fields.nullable("rollbackVerifiedAtMs", readNumber),
    timings: fields.of("timings", readTimings),
    lastReported: fields.nullable("lastReported", readReported),
    spent: fields.nullable("spent", readSpent),
  };
};

const readFloors: Reader<state.Floors> = (value, at) => {
  const fields = fieldsOf(value, at);
  return { sequence: fields.count("sequence"), epoch: fields.count("epoch") };
};

const readTime: Reader<TimeKnowledge> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    floorMs: fields.nullable("floorMs", readNumber),
    anchor: fields.nullable("anchor", readAnchor),
    distrusted: fields.flag("distrusted"),
  };
};

const readAnchor: Reader<TimeAnchor> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    issuedAtMs: fields.number("issuedAtMs"),
    ageMs: fields.number("ageMs"),
    monotonicMs: fields.number("monotonicMs"),
    bootId: fields.text("bootId"),
  };
};

const readAccepted: Reader<state.Accepted> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    offer: fields.of("offer", readOffer),
    assignment: fields.of("assignment", readAssignment),
    atMs: fields.number("atMs"),
  };
};

const readOffer: Reader<AssignmentOffer> = (value, at) => {
  const parsed = parseLatestDesired({ assignment: value });
  if (!parsed.ok || parsed.value.assignment === null) throw new Malformed(at);
  return parsed.value.assignment;
};

const readAssignment: Reader<Assignment> = (value, at) => {
  const parsed = parseAssignment(value);
  if (!parsed.ok) throw new Malformed(at);
  return parsed.value;
};

const readEvidence: Reader<Evidence> = (value, at) => {
  const parsed = parseEvidence(value);
  if (!parsed.ok) throw new Malformed(at);
  return parsed.value;
};

const readReason: Reader<ReasonCode> = (value, at) => readOneOf(value, at, REASON_CODES);

const readRefusal: Reader<state.Refusal> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    offerHash: fields.text("offerHash"),
    contextHash: fields.text("contextHash"),
    reasonCode: fields.of("reasonCode", readReason),
    evidence: fields.list("evidence", readEvidence, state.EVIDENCE_KEPT_MAX),
    sequence: fields.nullable("sequence", readNumber),
    desiredStateRevision: fields.nullable("desiredStateRevision", readText),
  };
};

const readSetRef: Reader<state.SetRef> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    manifestDigest: fields.text("manifestDigest", DIGEST),
    stackName: fields.text("stackName"),
    version: fields.text("version"),
    repository: fields.text("repository"),
    ...readOrigin(fields),
  };
};

function readOrigin(fields: Fields): { readonly desiredStateRevision: string; readonly sequence: number } {
  return { desiredStateRevision: fields.text("desiredStateRevision"), sequence: fields.count("sequence") };
}

const readInstant: Reader<state.Instant> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    bootId: fields.text("bootId"),
    monotonicMs: fields.number("monotonicMs"),
    wallMs: fields.number("wallMs"),
  };
};

const readTrial: Reader<state.Trial> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    changeId: fields.text("changeId"),
    set: fields.of("set", readSetRef),
    from: fields.nullable("from", readSetRef),
    phase: fields.oneOf("phase", TRIAL_PHASES),
    attempt: fields.count("attempt"),
    begun: fields.of("begun", readInstant),
    since: fields.of("since", readInstant),
    reboots: fields.count("reboots"),
    poweredMs: fields.number("poweredMs"),
    before: fields.list("before", readBefore, 64),
    timings: fields.of("timings", readTimings),
  };
};

const readBefore: Reader<state.ProbeBefore> = (value, at) => {
  const fields = fieldsOf(value, at);
  return { probe: fields.text("probe"), met: fields.flag("met") };
};

const readRollback: Reader<state.Rollback> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    changeId: fields.text("changeId"),
    from: fields.of("from", readSetRef),
    to: fields.nullable("to", readSetRef),
    phase: fields.oneOf("phase", ROLLBACK_PHASES),
    wasReady: fields.flag("wasReady"),
    cause: fields.of("cause", readCause),
    attempt: fields.count("attempt"),
    ...readOrigin(fields),
    begun: fields.of("begun", readInstant),
    since: fields.of("since", readInstant),
    before: fields.list("before", readBefore, 64),
  };
};

const readCause: Reader<state.Cause> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    reasonCodes: fields.list("reasonCodes", readReason, REASON_CODES.length),
    evidence: fields.list("evidence", readEvidence, state.EVIDENCE_KEPT_MAX),
  };
};

const readOutcome: Reader<state.Outcome> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    kind: fields.oneOf("kind", OUTCOMES),
    from: fields.of("from", readSetRef),
    to: fields.nullable("to", readSetRef),
    cause: fields.of("cause", readCause),
    attempt: fields.count("attempt"),
    ...readOrigin(fields),
    atMs: fields.number("atMs"),
  };
};

const readQuarantined: Reader<state.Quarantined> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    manifestDigest: fields.text("manifestDigest", DIGEST),
    sinceMs: fields.number("sinceMs"),
    reasonCodes: fields.list("reasonCodes", readReason, REASON_CODES.length),
    attempts: fields.count("attempts"),
    barred: fields.flag("barred"),
  };
};

const readExit: Reader<state.ExitNote> = (value, at) => {
  const fields = fieldsOf(value, at);
  return {
    instanceId: fields.text("instanceId"),
    set: fields.text("set", DIGEST),
    workload: fields.text("workload"),
    at: fields.of("at", readInstant),
    code: fields.nullable("code", readNumber),
    signal: fields.nullable("signal", readText),
    ...(fields.has("hung") && fields.flag("hung") ? { hung: true } : {}),
    ...(fields.has("deaths") ? { deaths: fields.of("deaths", readDeaths) } : {}),
  };
};

const readDeaths: Reader<NonNullable<state.ExitNote["deaths"]>> = (value, at) => {
  const fields = fieldsOf(value, at);
  return { added: fields.count("added"), total: fields.count("total") };
};

const TIMINGS = ["downloadSec", "applySec", "readinessSec", "rollbackSec"] as const;

const readTimings: Reader<state.ChangeTimings> = (value, at) => {
  const fields = fieldsOf(value, at);
  const known = TIMINGS.filter((name) => fields.has(name));
  return Object.fromEntries(known.map((name) => [name, fields.number(name)]));
};

const readReported: Reader<state.Reported> = (value, at) => {
  const fields = fieldsOf(value, at);
  return { key: fields.text("key"), atMs: fields.number("atMs") };
};

const readSpent: Reader<state.Spent> = (value, at) => {
  const fields = fieldsOf(value, at);
  return { sinceMs: fields.number("sinceMs"), bytes: fields.count("bytes") };
};

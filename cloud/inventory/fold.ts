import type {
  ConvergenceStatus,
  Drift,
  DriftKind,
  ReasonCode,
  ReconcileReport,
  StackRef,
  TimelineEventName,
} from "@muto/spec";
import { believedTime } from "./times.ts";

/**
 * How a report changes what the inventory says of its vehicle: pure, so that any order of arrival can be tried. Reports of
 * one installation are ordered by `seq`; an older one never overwrites a newer one (H19), and what it adds to the timeline
 * is added once.
 */
export interface VehicleState {
  /** Seq of the newest report that was folded; 0 when none of the current installation was. */
  readonly reportSeq: number;
  readonly status: ConvergenceStatus;
  readonly statusSince: string;
  readonly reasonCodes: readonly ReasonCode[];
  readonly desiredRevision: string | null;
  readonly actualStack: StackRef | null;
  readonly actualRevision: string | null;
  readonly committed: StackRef | null;
  readonly rollbackReady: boolean | null;
  readonly drift: readonly Drift[];
  readonly lastReconcileAt: string | null;
  readonly latestReportId: string | null;
  readonly sequenceFloor: number;
}

export interface TimelineEntry {
  readonly event: TimelineEventName;
  readonly at: string;
  readonly sequence: number;
  readonly revision: string | null;
  readonly stack: StackRef | null;
  readonly reasonCodes: readonly ReasonCode[];
  readonly drift?: readonly DriftKind[];
}

/** Sequences beyond this are no vehicle's honest floor: half of what an assignment may carry, so that there is always room for the next. */
export const SEQUENCE_FLOOR_MAX = 2 ** 51;

export interface Folded {
  readonly state: VehicleState;
  readonly timeline: TimelineEntry | null;
  /** What came or went of the expectations that the running stack keeps. */
  readonly drift: TimelineEntry | null;
  /** True for a report that came after a newer one: its timeline entry counts only if there is none like it. */
  readonly late: boolean;
}

export function foldReport(state: VehicleState, report: ReconcileReport, receivedAt: string): Folded {
  const at = believedTime(report.at, receivedAt);
  const floor = Math.max(state.sequenceFloor, acceptedSequence(report));
  if (report.seq <= state.reportSeq) {
    return { state: { ...state, sequenceFloor: floor }, timeline: lateEntry(report, at), drift: null, late: true };
  }
  const status = statusFrom(state, report);
  const reasonCodes = isAbout(state, report) ? report.reasonCodes : [];
  const changed = status !== state.status;
  const next: VehicleState = {
    reportSeq: report.seq,
    status,
    statusSince: changed ? laterOf(at, state.statusSince) : state.statusSince,
    reasonCodes,
    desiredRevision: state.desiredRevision,
    actualStack: report.stack,
    actualRevision: report.desiredStateRevision,
    committed: report.committed === undefined ? committedBy(state, report) : report.committed,
    rollbackReady: report.rollbackReady,
    drift: driftAfter(state, report),
    lastReconcileAt: receivedAt,
    latestReportId: report.reportId,
    sequenceFloor: floor,
  };
  // How an earlier assignment ended is told although the vehicle's status follows from the newer one.
  const outcome = !isAbout(state, report) && (report.status === "failed" || report.status === "rolled_back");
  const told =
    outcome || changed || state.actualRevision !== next.actualRevision || !sameCodes(state.reasonCodes, reasonCodes);
  return {
    state: next,
    timeline: told ? entryOf(report, at) : null,
    drift: driftEntry(state.drift, next.drift, report, at),
    late: false,
  };
}

/**
 * A vehicle that refuses an assignment names its sequence and counts no attempt. It has not accepted it: another vehicle's
 * document, or an expired one, replayed by whoever is on the way, must not look like a database that was restored (H16).
 */
function acceptedSequence({ attempt, sequence }: ReconcileReport): number {
  return attempt === 0 || sequence > SEQUENCE_FLOOR_MAX ? 0 : sequence;
}

/**
 * A report that does not speak of drift leaves it as it is, unless something else runs now. An agent that was restarted sees a
 * drift as new; it has lasted since it was first told.
 */
function driftAfter(state: VehicleState, { drift, stack }: ReconcileReport): readonly Drift[] {
  const isSameStack = stack?.manifestDigest === state.actualStack?.manifestDigest;
  if (drift === undefined) return isSameStack ? state.drift : [];
  return drift.map((one) => {
    const known = isSameStack ? state.drift.find((other) => isSameDrift(one, other)) : undefined;
    return known === undefined || Date.parse(known.since) > Date.parse(one.since)
      ? one
      : { ...one, since: known.since };
  });
}

function isSameDrift(one: Drift, other: Drift): boolean {
  return one.drift === other.drift && one.workload === other.workload && one.probe === other.probe;
}

/** Told when something new drifted, and when all of it is over; fewer expectations that are not kept are no event. */
function driftEntry(
  before: readonly Drift[],
  after: readonly Drift[],
  report: ReconcileReport,
  at: string,
): TimelineEntry | null {
  if (report.drift === undefined) return null;
  const { sequence, desiredStateRevision: revision, stack } = report;
  const about = { at, sequence, revision, stack, reasonCodes: [] };
  const fresh = after.filter((one) => !before.some((other) => isSameDrift(one, other)));
  if (fresh.length > 0) return { ...about, event: "drifted", drift: [...new Set(fresh.map(({ drift }) => drift))] };
  return before.length > 0 && after.length === 0 ? { ...about, event: "drift_cleared" } : null;
}

/** `pending` as long as the assignment is newer than what the vehicle speaks of. */
function statusFrom(state: VehicleState, report: ReconcileReport): ConvergenceStatus {
  return isAbout(state, report) ? report.status : "pending";
}

/** A renewed, withheld or resumed assignment is of the same revision, so a report about any of them speaks of what is desired. */
function isAbout(state: VehicleState, report: ReconcileReport): boolean {
  return report.desiredStateRevision === state.desiredRevision;
}

/** Without a word on it, only a report of convergence says what is committed. */
function committedBy(state: VehicleState, report: ReconcileReport): StackRef | null {
  return report.status === "converged" && report.set === "active" ? report.stack : state.committed;
}

function entryOf(report: ReconcileReport, at: string): TimelineEntry | null {
  const event = eventOf(report.status);
  if (event === null) return null;
  const { sequence, desiredStateRevision: revision, stack, reasonCodes } = report;
  return { event, at, sequence, revision, stack, reasonCodes };
}

/** Repeated refusals of a gate are no news when they come late. */
function lateEntry(report: ReconcileReport, at: string): TimelineEntry | null {
  return report.status === "blocked" ? null : entryOf(report, at);
}

/** The timeline's word for a status; none for `pending`, which is no event. */
export function eventOf(status: ConvergenceStatus): TimelineEventName | null {
  switch (status) {
    case "applying":
      return "apply_start";
    case "converged":
      return "ready";
    case "failed":
      return "failed";
    case "blocked":
      return "blocked";
    case "rolled_back":
      return "rolled_back";
    case "pending":
      return null;
  }
}

function sameCodes(a: readonly ReasonCode[], b: readonly ReasonCode[]): boolean {
  return a.length === b.length && a.every((code) => b.includes(code));
}

function laterOf(a: string, b: string): string {
  return Date.parse(a) >= Date.parse(b) ? a : b;
}

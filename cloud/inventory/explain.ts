import { REASONS } from "@muto/spec";
import type {
  AssignmentSummary,
  Evidence,
  FailedChange,
  ProbeReadings,
  ReasonCode,
  ReconcileReport,
  RolloutBrief,
  VehicleExplanation,
} from "@muto/spec";
import type { VehicleRecord } from "../store/vehicles.ts";
import { explainDrift } from "./drift-words.ts";
import { enrolmentOf, exclusionOf, reasonCodesOf, summaryOf } from "./vehicle-view.ts";

/** What is stored about one vehicle, read at one moment. */
export interface StoredEvidence {
  readonly record: VehicleRecord;
  readonly report: ReconcileReport | null;
  readonly lastFailure: FailedChange | null;
  readonly assignment: AssignmentSummary | null;
  readonly rollout: RolloutBrief | null;
  readonly probes: ProbeReadings;
}

/**
 * Why a vehicle is not converged, since when, and what would unblock it: pure, from stored evidence only. Each code comes
 * with the contract's words for it and with the evidence that the vehicle itself gave for it; nothing is guessed.
 */
export function explain({
  record,
  report,
  lastFailure,
  assignment,
  rollout,
  probes,
}: StoredEvidence): VehicleExplanation {
  const { status, convergence, connectivity, statusSince } = summaryOf(record);
  return {
    vehicleId: record.id,
    status,
    convergence,
    connectivity,
    since: statusSince,
    lastSeenAt: record.last_seen_at,
    reasons: reasonCodesOf(record).map((code) => reasonOf(code, report)),
    assignment,
    lastReport: report,
    lastFailure,
    enrolment: enrolmentOf(record),
    drift: record.drift.map(explainDrift),
    probes,
    rollout,
    exclusion: exclusionOf(record),
  };
}

function reasonOf(code: ReasonCode, report: ReconcileReport | null): VehicleExplanation["reasons"][number] {
  const { summary, when, operatorAction } = REASONS[code];
  const evidence: readonly Evidence[] = report?.evidence.filter((each) => each.reasonCode === code) ?? [];
  return { code, summary, unblockedWhen: when, operatorAction, evidence };
}

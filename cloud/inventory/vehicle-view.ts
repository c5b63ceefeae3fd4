import { REASONS } from "@muto/spec";
import type { ReasonCodeList, Vehicle, VehicleEnrolment, VehicleExclusion, VehicleSummary } from "@muto/spec";
import { readActor } from "../store/actor.ts";
import type { Db } from "../store/database.ts";
import { latestProbesOf } from "../store/health.ts";
import { stackRef } from "../store/stack-ref.ts";
import { findVehicleRecord, latestReportOf, timelineOf } from "../store/vehicles.ts";
import type { VehicleRecord } from "../store/vehicles.ts";
import type { ViewTime } from "../store/vehicle-events.ts";

const TIMELINE_EVENTS_MAX = 100;

/** The vehicle with its timeline and latest report; undefined when there is none of this id. */
export async function viewVehicle(db: Db, vehicleId: string, time: ViewTime): Promise<Vehicle | undefined> {
  const record = await findVehicleRecord(db, vehicleId, time);
  if (record === undefined) return undefined;
  return {
    ...summaryOf(record),
    timeline: await timelineOf(db, vehicleId, TIMELINE_EVENTS_MAX),
    latestReport: await latestReportOf(db, record),
    probes: await latestProbesOf(db, record),
  };
}

/** What an operator sees: offline when nothing is heard, else the convergence status; both are there. */
export function summaryOf(record: VehicleRecord): VehicleSummary {
  return {
    id: record.id,
    tags: record.tags,
    facts: record.facts,
    desiredStack: stackRef(record.desired_name, record.desired_version, record.desired_digest),
    desiredRevision: record.desired_revision,
    actualStack: stackRef(record.actual_name, record.actual_version, record.actual_digest),
    actualRevision: record.actual_revision,
    status: record.online ? record.status : "offline",
    convergence: record.status,
    connectivity: record.online ? "online" : "offline",
    reasonCodes: reasonCodesOf(record),
    statusSince: record.silent_since ?? record.status_since,
    safetySnapshot: record.safety,
    rollbackReady: record.rollback_ready,
    drift: record.drift,
    rolloutId: record.rollout_id,
    enrolment: enrolmentOf(record),
    exclusion: exclusionOf(record),
    lastSeenAt: record.last_seen_at,
    lastReconcileAt: record.last_reconcile_at,
    createdAt: record.created_at,
    decommissionedAt: record.decommissioned_at,
  };
}

export function reasonCodesOf(record: VehicleRecord): ReasonCodeList {
  return record.silent ? [...record.reason_codes, REASONS.HEARTBEAT_TIMEOUT.code] : record.reason_codes;
}

export function enrolmentOf(record: VehicleRecord): VehicleEnrolment {
  const { key_id: keyid, pending_key_id: pendingKeyid } = record;
  const dead = record.revoked_at !== null || record.decommissioned_at !== null;
  const state =
    keyid !== null
      ? "accepted"
      : pendingKeyid !== null
        ? "pending"
        : record.claimed
          ? "claimed"
          : dead
            ? "revoked"
            : "none";
  const alarm =
    record.clone_alarm_at !== null ? "clone" : keyid !== null && pendingKeyid !== null ? "second-key" : "none";
  return { state, keyid, pendingKeyid, alarm };
}

export function exclusionOf(record: VehicleRecord): VehicleExclusion | null {
  const { excluded_at: since, excluded_by: by, excluded_reason: reason } = record;
  if (!record.excluded || since === null || by === null || reason === null) return null;
  return { reason, since, expiresAt: record.excluded_until, by: readActor(by) };
}

import type { Envelope, ErrorCode, ReportReceipt } from "@muto/spec";
import { openReconcileReport } from "@muto/trust/documents";
import type { PublicKey } from "@muto/trust/keys";
import { vehicleList } from "../store/assignments.ts";
import { wake } from "../store/database.ts";
import type { Db } from "../store/database.ts";
import { appendTimeline, insertReports, knownReports, lockVehicle } from "../store/reports.ts";
import type { NewTimelineRow, ReceivedReport, VehicleRow } from "../store/reports.ts";
import { noteFloor } from "../store/restore-guard.ts";
import { stackRef } from "../store/stack-ref.ts";
import { appendVehicleEvents } from "../store/vehicle-events.ts";
import type { ViewTime } from "../store/vehicle-events.ts";
import { createKeyReader } from "../trust/known-keys.ts";
import type { KeyReader } from "../trust/known-keys.ts";
import { foldReport } from "./fold.ts";
import type { Folded, VehicleState } from "./fold.ts";
import { acknowledge, judgeInstalls } from "./installs.ts";
import { believedTime } from "./times.ts";

/** What became of a batch: one receipt per element, in order, and how far the newest installation's reports have arrived. */
export interface Ingestion {
  readonly receipts: readonly ReportReceipt[];
  readonly acknowledged: { readonly installId: string; readonly seq: number } | undefined;
}

/**
 * Takes reports of one vehicle, from HTTP and MQTT alike. `vehicleId` is the principal or the topic: the signature must be
 * of the key registered for it, and the report must speak of it (H18). Idempotent, in any order, each element on its own.
 * What is answered as stored is stored.
 */
export async function ingestReconcile(
  db: Db,
  vehicleId: string,
  envelopes: readonly Envelope[],
  time: ViewTime,
  readKey: KeyReader = createKeyReader(),
): Promise<Ingestion> {
  const registered = await db
    .selectFrom("vehicles")
    .select(["public_key", "revoked_at", "decommissioned_at"])
    .where("id", "=", vehicleId)
    .executeTakeFirst();
  const dead = registered === undefined || registered.revoked_at !== null || registered.decommissioned_at !== null;
  const pem = registered?.public_key ?? undefined;
  const key = pem === undefined ? undefined : readKey(pem);
  if (dead || key === undefined) {
    return { receipts: envelopes.map((_, index) => refused(index, "VEHICLE_REVOKED")), acknowledged: undefined };
  }
  const read = envelopes.map((envelope) => readReport(envelope, vehicleId, key, time.at));
  const received = read.flatMap((each) => ("report" in each ? [each] : []));
  if (received.length === 0) return { receipts: receiptsOf(read, new Set()), acknowledged: undefined };
  return await db.transaction().execute(async (trx) => {
    const vehicle = await lockVehicle(trx, vehicleId);
    // The key may have been revoked or replaced since it was read; then nothing of this batch counts.
    if (vehicle === undefined || vehicle.key_id !== key.keyid || vehicle.revoked_at !== null) {
      return { receipts: envelopes.map((_, index) => refused(index, "VEHICLE_REVOKED")), acknowledged: undefined };
    }
    return await storeBatch(trx, vehicle, read, received, time);
  });
}

type ReadReport = ReceivedReport | { readonly error: ErrorCode };

async function storeBatch(
  trx: Db,
  vehicle: VehicleRow,
  read: readonly ReadReport[],
  received: readonly ReceivedReport[],
  time: ViewTime,
): Promise<Ingestion> {
  const known = await knownReports(
    trx,
    vehicle.id,
    received.map(({ report }) => report),
  );
  const verdict = await judgeInstalls(trx, vehicle, received, known, time);
  const fresh = verdict.fresh;
  if (fresh.length > 0) await insertReports(trx, vehicle.id, fresh, time.at);
  const acknowledged = await acknowledge(trx, vehicle.id, verdict);
  const speaker = { installId: verdict.current, ackedSeq: acknowledged.get(verdict.current ?? "") ?? 0 };
  await saveVehicle(trx, vehicle, speaker, fold(vehicle, fresh, verdict.current, time.at), time);
  if (fresh.length > 0) await wake(trx, "muto_work");
  const installId = received.at(-1)?.report.installId ?? "";
  const seq = acknowledged.get(installId) ?? 0;
  return {
    receipts: receiptsOf(read, new Set(fresh)),
    acknowledged: seq === 0 ? undefined : { installId, seq },
  };
}

interface FoldedBatch {
  readonly state: VehicleState;
  readonly timeline: readonly NewTimelineRow[];
}

/** Folds what the current installation said, in the order of its own numbering. */
function fold(
  vehicle: VehicleRow,
  fresh: readonly ReceivedReport[],
  current: string | null,
  receivedAt: string,
): FoldedBatch {
  let state: VehicleState = stateOf(vehicle, current);
  const timeline: NewTimelineRow[] = [];
  const own = fresh.filter(({ report }) => report.installId === current);
  for (const { report } of own.toSorted((a, b) => a.report.seq - b.report.seq)) {
    const one: Folded = foldReport(state, report, receivedAt);
    state = one.state;
    if (one.timeline !== null) timeline.push({ ...one.timeline, unless: one.late ? "sequence" : "never" });
    if (one.drift !== null) timeline.push({ ...one.drift, unless: "never" });
  }
  return { state, timeline };
}

function stateOf(vehicle: VehicleRow, current: string | null): VehicleState {
  return {
    reportSeq: vehicle.install_id === current ? vehicle.report_seq : 0,
    status: vehicle.status,
    statusSince: vehicle.status_since,
    reasonCodes: vehicle.reason_codes,
    desiredRevision: vehicle.desired_revision,
    actualStack: stackRef(vehicle.actual_name, vehicle.actual_version, vehicle.actual_digest),
    actualRevision: vehicle.actual_revision,
    committed: stackRef(vehicle.committed_name, vehicle.committed_version, vehicle.committed_digest),
    rollbackReady: vehicle.rollback_ready,
    drift: vehicle.drift,
    lastReconcileAt: vehicle.last_reconcile_at,
    latestReportId: vehicle.latest_report_id,
    sequenceFloor: vehicle.sequence_floor,
  };
}

async function saveVehicle(
  trx: Db,
  vehicle: VehicleRow,
  speaker: { readonly installId: string | null; readonly ackedSeq: number },
  { state, timeline }: FoldedBatch,
  time: ViewTime,
): Promise<void> {
  await trx
    .updateTable("vehicles")
    .set({
      install_id: speaker.installId,
      acked_seq: speaker.ackedSeq,
      report_seq: state.reportSeq,
      status: state.status,
      status_since: state.statusSince,
      reason_codes: state.reasonCodes,
      actual_revision: state.actualRevision,
      actual_name: state.actualStack?.name ?? null,
      actual_version: state.actualStack?.version ?? null,
      actual_digest: state.actualStack?.manifestDigest ?? null,
      committed_name: state.committed?.name ?? null,
      committed_version: state.committed?.version ?? null,
      committed_digest: state.committed?.manifestDigest ?? null,
      rollback_ready: state.rollbackReady,
      drift: JSON.stringify(state.drift),
      last_reconcile_at: state.lastReconcileAt,
      latest_report_id: state.latestReportId,
      last_seen_at: time.at,
      offline_since: null,
      updated_at: time.at,
    })
    .where("id", "=", vehicle.id)
    .execute();
  await appendTimeline(trx, vehicle.id, timeline);
  if (state.sequenceFloor > vehicle.sequence_floor) await noteFloor(trx, vehicle, state.sequenceFloor, time.at);
  const visible =
    state.status !== vehicle.status ||
    vehicle.offline_since !== null ||
    timeline.some(({ drift }) => drift !== undefined) ||
    state.drift.length !== vehicle.drift.length ||
    state.actualStack?.manifestDigest !== (vehicle.actual_digest ?? undefined) ||
    state.reasonCodes.join() !== vehicle.reason_codes.join();
  if (visible) await appendVehicleEvents(trx, time, vehicleList([vehicle.id]));
}

/** The report inside must speak of the vehicle whose key signed it. */
function readReport(envelope: Envelope, vehicleId: string, key: PublicKey, receivedAt: string): ReadReport {
  const opened = openReconcileReport(envelope, key);
  if (!opened.ok) return { error: opened.problem === "invalid-document" ? "BODY_INVALID" : "SIGNATURE_INVALID" };
  const report = opened.document;
  if (report.vehicleId !== vehicleId) return { error: "FORBIDDEN" };
  return { report, keyid: key.keyid, at: believedTime(report.at, receivedAt) };
}

function receiptsOf(read: readonly ReadReport[], fresh: ReadonlySet<ReadReport>): readonly ReportReceipt[] {
  return read.map((each, index) =>
    "error" in each
      ? refused(index, each.error)
      : { index, result: fresh.has(each) ? "stored" : "duplicate", error: null },
  );
}

function refused(index: number, error: ErrorCode): ReportReceipt {
  return { index, result: "refused", error };
}

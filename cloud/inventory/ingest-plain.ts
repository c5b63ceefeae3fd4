import { isDeepStrictEqual } from "node:util";
import type { PlainReconcileReport, ReportReceipt } from "@muto/spec";
import { vehicleList } from "../store/assignments.ts";
import type { Db } from "../store/database.ts";
import { appendTimeline, insertPlainReport, latestPlainReport, lockVehicle } from "../store/reports.ts";
import type { VehicleRow } from "../store/reports.ts";
import { appendVehicleEvents } from "../store/vehicle-events.ts";
import type { ViewTime } from "../store/vehicle-events.ts";
import { eventOf } from "./fold.ts";

/**
 * Takes a report without a signature, from simulators and for vehicles without an agent. It is kept as what it is and no
 * gate ever counts it; it shows in the vehicle's status only as long as the vehicle has never signed one (H18).
 */
export async function ingestPlain(
  db: Db,
  index: number,
  report: PlainReconcileReport,
  reportId: string,
  time: ViewTime,
): Promise<ReportReceipt> {
  return await db.transaction().execute(async (trx) => {
    const vehicle = await lockVehicle(trx, report.vehicleId);
    if (vehicle === undefined) return { index, result: "refused", error: "NOT_FOUND" };
    if (vehicle.revoked_at !== null || vehicle.decommissioned_at !== null) {
      return { index, result: "refused", error: "VEHICLE_REVOKED" };
    }
    const latest = await latestPlainReport(trx, vehicle.id);
    if (latest !== undefined && isDeepStrictEqual(latest, plainJson(report))) {
      return { index, result: "duplicate", error: null };
    }
    await insertPlainReport(trx, report, reportId, time.at);
    if (vehicle.latest_report_id === null) await show(trx, vehicle, report, time);
    return { index, result: "stored", error: null };
  });
}

async function show(trx: Db, vehicle: VehicleRow, report: PlainReconcileReport, time: ViewTime): Promise<void> {
  const isAbout = report.desiredStateRevision === vehicle.desired_revision;
  const status = isAbout ? report.status : "pending";
  await trx
    .updateTable("vehicles")
    .set({
      status,
      status_since: status === vehicle.status ? vehicle.status_since : time.at,
      reason_codes: isAbout ? report.reasonCodes : [],
      actual_revision: report.desiredStateRevision,
      last_reconcile_at: time.at,
      last_seen_at: time.at,
      offline_since: null,
      updated_at: time.at,
    })
    .where("id", "=", vehicle.id)
    .execute();
  const event = eventOf(report.status);
  const { reasonCodes, desiredStateRevision: revision } = report;
  if (event !== null && status !== vehicle.status) {
    const entry = { event, at: time.at, sequence: null, revision, stack: null, reasonCodes, unless: "never" } as const;
    await appendTimeline(trx, vehicle.id, [entry]);
  }
  await appendVehicleEvents(trx, time, vehicleList([vehicle.id]));
}

function plainJson(report: PlainReconcileReport): unknown {
  const plain: unknown = JSON.parse(JSON.stringify(report));
  return plain;
}

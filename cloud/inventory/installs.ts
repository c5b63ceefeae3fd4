import { SYSTEM } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import type { Db } from "../store/database.ts";
import { advanceAcknowledged, installsOf, noteInstall } from "../store/reports.ts";
import type { InstallRow, KnownReport, ReceivedReport, VehicleRow } from "../store/reports.ts";
import type { ViewTime } from "../store/vehicle-events.ts";

/**
 * Which installation speaks for a vehicle. A new one takes over: the vehicle was set up anew. One that comes back after
 * another took over, or that numbers two different reports alike, means that two computers answer for one vehicle:
 * alarm, and no further assignments until an operator has looked (H19).
 */
export interface InstallVerdict {
  /** The installation whose reports are folded; null while none has reported. */
  readonly current: string | null;
  /** Reports that are new, in the order they came. */
  readonly fresh: readonly ReceivedReport[];
  readonly installs: readonly InstallRow[];
}

export async function judgeInstalls(
  trx: Db,
  vehicle: VehicleRow,
  received: readonly ReceivedReport[],
  known: readonly KnownReport[],
  time: ViewTime,
): Promise<InstallVerdict> {
  const installs = new Map((await installsOf(trx, vehicle.id)).map((install) => [install.installId, install]));
  const seen = new Map(known.map((each) => [`${each.installId} ${each.seq}`, each.reportId]));
  const fresh: ReceivedReport[] = [];
  let current = vehicle.install_id;
  let cloned = false;
  for (const one of received) {
    const { installId, seq, reportId } = one.report;
    const sameNumber = seen.get(`${installId} ${seq}`);
    cloned ||= sameNumber !== undefined && sameNumber !== reportId;
    const install = installs.get(installId);
    if (sameNumber !== undefined || seq <= (install?.ackedSeq ?? 0)) continue;
    seen.set(`${installId} ${seq}`, reportId);
    fresh.push(one);
    if (install === undefined) {
      await noteInstall(trx, { vehicleId: vehicle.id, installId, at: one.at, receivedAt: time.at });
      installs.set(installId, { installId, firstAt: one.at, ackedSeq: 0 });
      current = installId;
    } else if (current === null) {
      current = installId;
    } else if (installId !== current) {
      // What was sent before the take-over and came late is no sign of life.
      cloned ||= Date.parse(one.at) > Date.parse(installs.get(current ?? "")?.firstAt ?? one.at);
    }
  }
  if (cloned) await raiseCloneAlarm(trx, vehicle, time.at);
  return { current, fresh, installs: [...installs.values()] };
}

/** A poll names its installation with the vehicle's own token: the quickest sign that two computers take turns. */
export async function noteInstallOfPoll(trx: Db, vehicle: VehicleRow, installId: string, at: string): Promise<void> {
  if (vehicle.install_id === installId) return;
  const known = (await installsOf(trx, vehicle.id)).some((install) => install.installId === installId);
  if (known && vehicle.install_id !== null) {
    await raiseCloneAlarm(trx, vehicle, at);
    return;
  }
  const acknowledged = await noteInstall(trx, { vehicleId: vehicle.id, installId, at, receivedAt: at });
  await trx
    .updateTable("vehicles")
    .set({ install_id: installId, report_seq: acknowledged, acked_seq: acknowledged })
    .where("id", "=", vehicle.id)
    .execute();
}

/** Moves on what is acknowledged of every installation that brought something; returns how far each has come. */
export async function acknowledge(
  trx: Db,
  vehicleId: string,
  verdict: InstallVerdict,
): Promise<ReadonlyMap<string, number>> {
  const acknowledged = new Map(verdict.installs.map(({ installId, ackedSeq }) => [installId, ackedSeq]));
  for (const id of new Set(verdict.fresh.map(({ report }) => report.installId))) {
    acknowledged.set(id, await advanceAcknowledged(trx, vehicleId, id));
  }
  return acknowledged;
}

async function raiseCloneAlarm(trx: Db, vehicle: VehicleRow, at: string): Promise<void> {
  if (vehicle.clone_alarm_at !== null) return;
  await trx.updateTable("vehicles").set({ clone_alarm_at: at }).where("id", "=", vehicle.id).execute();
  await appendAudit(trx, {
    at,
    actor: SYSTEM,
    action: "vehicle.clone-suspected",
    subject: { type: "vehicle", id: vehicle.id },
    before: { alarm: "none" },
    after: { alarm: "clone", assignments: "stopped" },
  });
}

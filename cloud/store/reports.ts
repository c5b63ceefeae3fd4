import { sql } from "kysely";
import type { Selectable } from "kysely";
import type { DriftKind, PlainReconcileReport, ReconcileReport, StackRef, TimelineEventName } from "@muto/spec";
import type { Db } from "./database.ts";
import type { ReconcileReportsTable, VehiclesTable } from "./tables.ts";

export type VehicleRow = Selectable<VehiclesTable>;

/** The vehicle's row, locked until the end of the transaction, so that its reports are folded one batch at a time. */
export async function lockVehicle(db: Db, vehicleId: string): Promise<VehicleRow | undefined> {
  return await db.selectFrom("vehicles").selectAll().where("id", "=", vehicleId).forUpdate().executeTakeFirst();
}

export interface KnownReport {
  readonly installId: string;
  readonly seq: number;
  readonly reportId: string;
}

/** Which of these reports are stored already, and under which reportId. */
export async function knownReports(
  db: Db,
  vehicleId: string,
  reports: readonly ReconcileReport[],
): Promise<readonly KnownReport[]> {
  const installIds = reports.map(({ installId }) => installId);
  const seqs = reports.map(({ seq }) => seq);
  const { rows } = await sql<{ install_id: string; seq: number; report_id: string }>`
    select r.install_id, r.seq, r.report_id from reconcile_reports r
    join unnest(${installIds}::text[], ${seqs}::bigint[]) as asked (install_id, seq)
      on r.install_id = asked.install_id and r.seq = asked.seq
    where r.vehicle_id = ${vehicleId} and r.signed`.execute(db);
  return rows.map((row) => ({ installId: row.install_id, seq: row.seq, reportId: row.report_id }));
}

export interface ReceivedReport {
  readonly report: ReconcileReport;
  readonly keyid: string;
  /** The report's own time, as far as it is believed. */
  readonly at: string;
}

export async function insertReports(
  db: Db,
  vehicleId: string,
  received: readonly ReceivedReport[],
  receivedAt: string,
): Promise<void> {
  await db
    .insertInto("reconcile_reports")
    .values(
      received.map(({ report, keyid, at }) => ({
        vehicle_id: vehicleId,
        report_id: report.reportId,
        signed: true,
        key_id: keyid,
        install_id: report.installId,
        seq: report.seq,
        sequence: report.sequence,
        revision: report.desiredStateRevision,
        status: report.status,
        reason_codes: report.reasonCodes,
        stack_name: report.stack?.name ?? null,
        stack_version: report.stack?.version ?? null,
        stack_digest: report.stack?.manifestDigest ?? null,
        committed_digest: report.committed?.manifestDigest ?? null,
        at,
        received_at: receivedAt,
        body: JSON.stringify(report),
      })),
    )
    .execute();
}

/** Kept as what it is: without signature, installation and number. */
export async function insertPlainReport(
  db: Db,
  report: PlainReconcileReport,
  reportId: string,
  receivedAt: string,
): Promise<void> {
  await db
    .insertInto("reconcile_reports")
    .values({
      vehicle_id: report.vehicleId,
      report_id: reportId,
      signed: false,
      revision: report.desiredStateRevision,
      status: report.status,
      reason_codes: report.reasonCodes,
      at: receivedAt,
      received_at: receivedAt,
      body: JSON.stringify(report),
    })
    .execute();
}

export async function latestPlainReport(db: Db, vehicleId: string): Promise<unknown> {
  const row = await db
    .selectFrom("reconcile_reports")
    .select("body")
    .where("vehicle_id", "=", vehicleId)
    .where("signed", "=", false)
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  return row?.body;
}

export interface InstallRow {
  readonly installId: string;
  readonly firstAt: string;
  readonly ackedSeq: number;
}

/** Every installation that ever reported for the vehicle; there are few. */
export async function installsOf(db: Db, vehicleId: string): Promise<readonly InstallRow[]> {
  const rows = await db
    .selectFrom("vehicle_installs")
    .select(["install_id", "first_at", "acked_seq"])
    .where("vehicle_id", "=", vehicleId)
    .execute();
  return rows.map((row) => ({ installId: row.install_id, firstAt: row.first_at, ackedSeq: row.acked_seq }));
}

/**
 * Makes an installation known, or notes that it was heard again. `at` is the time it claims itself. Returns how far its
 * reports have arrived without a gap.
 */
export async function noteInstall(
  db: Db,
  install: { readonly vehicleId: string; readonly installId: string; readonly at: string; readonly receivedAt: string },
): Promise<number> {
  const { acked_seq } = await db
    .insertInto("vehicle_installs")
    .values({
      vehicle_id: install.vehicleId,
      install_id: install.installId,
      first_at: install.at,
      first_received_at: install.receivedAt,
      last_received_at: install.receivedAt,
    })
    .onConflict((conflict) =>
      conflict.columns(["vehicle_id", "install_id"]).doUpdateSet({ last_received_at: install.receivedAt }),
    )
    .returning("acked_seq")
    .executeTakeFirstOrThrow();
  return acked_seq;
}

/** Moves the acknowledged seq over everything that has arrived without a gap, and returns it. */
export async function advanceAcknowledged(db: Db, vehicleId: string, installId: string): Promise<number> {
  const { rows } = await sql<{ acked_seq: number }>`
    update vehicle_installs i set acked_seq = coalesce((
      select max(arrived.seq) from (
        select seq, row_number() over (order by seq) as rank from reconcile_reports r
        where r.vehicle_id = ${vehicleId} and r.install_id = ${installId} and r.signed and r.seq > i.acked_seq
      ) arrived where arrived.seq = i.acked_seq + arrived.rank
    ), i.acked_seq)
    where i.vehicle_id = ${vehicleId} and i.install_id = ${installId}
    returning i.acked_seq`.execute(db);
  return rows[0]?.acked_seq ?? 0;
}

export interface NewTimelineRow {
  readonly event: TimelineEventName;
  readonly at: string;
  readonly sequence: number | null;
  readonly revision: string | null;
  readonly rolloutId?: string | null;
  readonly stack: StackRef | null;
  readonly reasonCodes: readonly string[];
  readonly drift?: readonly DriftKind[];
  /** What it must not repeat: `sequence` skips it when the vehicle has the same event for its sequence, `time` for its time. */
  readonly unless: "never" | "sequence" | "time";
}

/** Adds to a vehicle's timeline; returns how many entries were new. */
export async function appendTimeline(db: Db, vehicleId: string, entries: readonly NewTimelineRow[]): Promise<number> {
  if (entries.length === 0) return 0;
  const rows = entries.map((entry) => ({
    ...entry,
    stack_name: entry.stack?.name ?? null,
    stack_version: entry.stack?.version ?? null,
    stack_digest: entry.stack?.manifestDigest ?? null,
  }));
  const inserted = await sql`
    insert into timeline (vehicle_id, at, event, sequence, revision, rollout_id, stack_name, stack_version, stack_digest, reason_codes, drift)
    select ${vehicleId}, e.at, e.event, e.sequence, e.revision, e."rolloutId", e.stack_name, e.stack_version, e.stack_digest,
      array(select jsonb_array_elements_text(e."reasonCodes")), array(select jsonb_array_elements_text(coalesce(e.drift, '[]')))
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as e (at timestamptz, event text, sequence bigint, revision text,
      "rolloutId" text, stack_name text, stack_version text, stack_digest text, "reasonCodes" jsonb, drift jsonb, unless text)
    where not exists (
      select 1 from timeline t where t.vehicle_id = ${vehicleId} and t.event = e.event
        and ((e.unless = 'sequence' and t.sequence = e.sequence)
          or (e.unless = 'time' and t.at = e.at and t.revision is not distinct from e.revision)))
    order by e.at`.execute(db);
  return Number(inserted.numAffectedRows ?? 0n);
}

/** Newest first. Without a vehicle, of the whole fleet. */
export async function listReports(
  db: Db,
  vehicleId: string | undefined,
  page: { readonly offset: number; readonly limit: number },
): Promise<{ readonly rows: readonly Selectable<ReconcileReportsTable>[]; readonly total: number }> {
  const matching = db
    .selectFrom("reconcile_reports")
    .where("signed", "=", true)
    .$if(vehicleId !== undefined, (query) => query.where("vehicle_id", "=", vehicleId ?? ""));
  const { total } = await matching
    .select((select) => select.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await matching.selectAll().orderBy("id", "desc").offset(page.offset).limit(page.limit).execute();
  return { rows, total };
}

/** True when a stored report of the vehicle names this attachment. */
export async function namesAttachment(db: Db, vehicleId: string, digest: string): Promise<boolean> {
  const tail = JSON.stringify({ evidence: [{ kind: "output-tail", digest }] });
  const { rows } = await sql`
    select 1 from reconcile_reports
    where vehicle_id = ${vehicleId} and signed and body @> ${tail}::jsonb limit 1`.execute(db);
  return rows.length > 0;
}

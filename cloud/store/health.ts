import { sql } from "kysely";
import type { Selectable } from "kysely";
import type { Facts, HealthReport, ProbeReadings, SafetySnapshot } from "@muto/spec";
import type { Db } from "./database.ts";
import type { VehicleRow } from "./reports.ts";
import type { HealthReportsTable } from "./tables.ts";
import { appendVehicleEvents } from "./vehicle-events.ts";
import type { ViewTime } from "./vehicle-events.ts";

/** A sign of life, with whatever came with it. */
export interface Heartbeat {
  readonly vehicleId: string;
  readonly at: string;
  readonly facts?: Facts;
  readonly safety?: SafetySnapshot;
  readonly rollbackReady?: boolean;
  readonly report?: HealthReport;
  /** The report's own time, as far as it is believed. */
  readonly reportAt?: string;
}

/** History keeps one report per bucket in a ring, so a vehicle has at most this many rows, whatever it sends. */
const HISTORY_BUCKET_MS = 600_000;
const HISTORY_SLOTS = 24;
const LATEST_SLOT = -1;

/**
 * Stores many heartbeats, one per vehicle, in three statements. Rows are locked in the order of their ids, so that two
 * replicas that flush at once wait for each other instead of deadlocking. What a retired vehicle still sends is ignored.
 */
export async function saveHeartbeats(db: Db, heartbeats: readonly Heartbeat[], time: ViewTime): Promise<void> {
  if (heartbeats.length === 0) return;
  const ids = heartbeats.map(({ vehicleId }) => vehicleId);
  await db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ id: string }>`
      with beat as (
        select * from jsonb_to_recordset(${JSON.stringify(heartbeats)}::jsonb)
          as b ("vehicleId" text, at timestamptz, facts jsonb, safety jsonb, "rollbackReady" boolean)
      ), chosen as (
        -- By name and not by a join, so that each is found by its key whatever the planner believes of the fleet.
        select v.id, v.offline_since from vehicles v where v.id = any (${ids}::text[])
          and v.decommissioned_at is null and v.revoked_at is null
        order by v.id for update of v
      ), touched as (
        update vehicles v set
          last_seen_at = greatest(v.last_seen_at, beat.at),
          offline_since = null,
          facts = v.facts || coalesce(beat.facts, '{}'::jsonb),
          safety = coalesce(beat.safety, v.safety),
          safety_at = case when beat.safety is null then v.safety_at else beat.at end,
          rollback_ready = coalesce(beat."rollbackReady", v.rollback_ready)
        from beat, chosen where v.id = chosen.id and beat."vehicleId" = v.id
      )
      select id from chosen where offline_since is not null`.execute(trx);
    const reports = heartbeats.filter(({ report }) => report !== undefined);
    if (reports.length > 0) await saveReports(trx, reports);
    if (rows.length > 0) {
      const returned = rows.map(({ id }) => id);
      await appendVehicleEvents(trx, time, sql`select unnest(${returned}::text[]) as vehicle_id`);
    }
  });
}

async function saveReports(trx: Db, heartbeats: readonly Heartbeat[]): Promise<void> {
  const rows = heartbeats.map(({ vehicleId, at, report, reportAt }) => ({
    vehicleId,
    receivedAt: at,
    at: reportAt ?? at,
    installId: report?.installId,
    body: report,
    slot: Math.floor(Date.parse(at) / HISTORY_BUCKET_MS) % HISTORY_SLOTS,
  }));
  await sql`
    insert into health_reports (vehicle_id, slot, install_id, at, received_at, body)
    select h."vehicleId", kept.slot, h."installId", h.at, h."receivedAt", h.body
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as h ("vehicleId" text, "receivedAt" timestamptz, at timestamptz, "installId" text, body jsonb, slot integer)
    join vehicles v on v.id = h."vehicleId" and v.decommissioned_at is null and v.revoked_at is null
    cross join lateral (values (${sql.lit(LATEST_SLOT)}), (h.slot)) as kept (slot)
    order by h."vehicleId", kept.slot
    on conflict (vehicle_id, slot) do update set install_id = excluded.install_id, at = excluded.at,
      received_at = excluded.received_at, body = excluded.body
    where health_reports.slot = ${sql.lit(LATEST_SLOT)}
      or health_reports.received_at < excluded.received_at - ${HISTORY_BUCKET_MS} * interval '1 millisecond'`.execute(
    trx,
  );
}

/**
 * The last look at every probe, of the newest heartbeat of the installation that counts. Empty when that speaks of another
 * stack than the vehicle's newest report does.
 */
export async function latestProbesOf(db: Db, vehicle: VehicleRow): Promise<ProbeReadings> {
  const row = await db
    .selectFrom("health_reports")
    .select("body")
    .where("vehicle_id", "=", vehicle.id)
    .where("slot", "=", LATEST_SLOT)
    .executeTakeFirst();
  if (row === undefined || row.body.installId !== vehicle.install_id) return [];
  return row.body.stack?.manifestDigest === vehicle.actual_digest ? (row.body.probes ?? []) : [];
}

/** Newest first; the newest is always the latest, the others are about ten minutes apart. */
export async function listHealth(
  db: Db,
  vehicleId: string | undefined,
  page: { readonly offset: number; readonly limit: number },
): Promise<{ readonly rows: readonly Selectable<HealthReportsTable>[]; readonly total: number }> {
  // The report in a history slot may be the very one that is the latest, too.
  const matching = db
    .selectFrom("health_reports as h")
    .$if(vehicleId !== undefined, (query) => query.where("h.vehicle_id", "=", vehicleId ?? ""))
    .where((where) =>
      where.or([
        where("h.slot", "=", LATEST_SLOT),
        where.not(
          where.exists(
            where
              .selectFrom("health_reports as latest")
              .select("latest.slot")
              .whereRef("latest.vehicle_id", "=", "h.vehicle_id")
              .where("latest.slot", "=", LATEST_SLOT)
              .whereRef("latest.received_at", "=", "h.received_at"),
          ),
        ),
      ]),
    );
  const { total } = await matching
    .select((select) => select.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await matching
    .selectAll("h")
    .orderBy("h.received_at", "desc")
    .orderBy("h.vehicle_id")
    .offset(page.offset)
    .limit(page.limit)
    .execute();
  return { rows, total };
}

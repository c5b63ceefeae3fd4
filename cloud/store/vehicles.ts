import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type { ReasonCode, ReconcileReport, TimelineEvent } from "@muto/spec";
import { REASONS } from "@muto/spec";
import type { Db } from "./database.ts";
import type { VehicleRow } from "./reports.ts";
import { onlineSql, silentSql, statusSql } from "./vehicle-events.ts";
import type { ViewTime } from "./vehicle-events.ts";

/** A vehicle's row with what other tables say of it, at one moment. */
export interface VehicleRecord extends VehicleRow {
  readonly online: boolean;
  /** Nothing was heard for longer than the threshold. */
  readonly silent: boolean;
  /** Since when it is offline; null while it is online. */
  readonly silent_since: string | null;
  readonly rollout_id: string | null;
  readonly pending_key_id: string | null;
  readonly claimed: boolean;
  readonly excluded: boolean;
}

export interface VehicleFilter {
  readonly condition: RawBuilder<boolean> | undefined;
  readonly model: string | undefined;
  readonly region: string | undefined;
  readonly ring: string | undefined;
  readonly status: string | undefined;
  readonly reasonCode: ReasonCode | undefined;
  /** Whether its stack does not keep every expectation. */
  readonly drifting: boolean | undefined;
  /** Part of the id. */
  readonly search: string | undefined;
}

export type VehicleSort = "id" | "status" | "statusSince" | "lastSeenAt" | "createdAt";

/** One page of vehicles that are not decommissioned; every filter must hold. */
export async function listVehicleRecords(
  db: Db,
  filter: VehicleFilter,
  order: { readonly by: VehicleSort; readonly descending: boolean },
  page: { readonly offset: number; readonly limit: number },
  time: ViewTime,
): Promise<{ readonly records: readonly VehicleRecord[]; readonly total: number }> {
  const where = sql.join([sql<boolean>`v.decommissioned_at is null`, ...conditions(filter, time)], sql` and `);
  const counted = await sql<{ total: number }>`select count(*) as total from vehicles v where ${where}`.execute(db);
  const direction = order.descending ? sql`desc nulls last` : sql`asc nulls last`;
  const { rows } = await sql<VehicleRecord>`
    ${selectRecords(time)} where ${where}
    order by ${sortSql(order.by, time)} ${direction}, v.id
    offset ${page.offset} limit ${page.limit}`.execute(db);
  return { records: rows, total: counted.rows[0]?.total ?? 0 };
}

export async function findVehicleRecord(db: Db, vehicleId: string, time: ViewTime): Promise<VehicleRecord | undefined> {
  const { rows } = await sql<VehicleRecord>`${selectRecords(time)} where v.id = ${vehicleId}`.execute(db);
  return rows[0];
}

/** Newest first. */
export async function timelineOf(db: Db, vehicleId: string, limit: number): Promise<readonly TimelineEvent[]> {
  const rows = await db
    .selectFrom("timeline")
    .select(["event", "at", "revision", "reason_codes", "drift"])
    .where("vehicle_id", "=", vehicleId)
    .orderBy("at", "desc")
    .orderBy("id", "desc")
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    event: row.event,
    at: row.at,
    desiredStateRevision: row.revision,
    reasonCodes: row.reason_codes,
    ...(row.drift.length > 0 && { drift: row.drift }),
  }));
}

/** The report that status, stack and codes of the vehicle come from. */
export async function latestReportOf(db: Db, vehicle: VehicleRow): Promise<ReconcileReport | null> {
  if (vehicle.latest_report_id === null) return null;
  const row = await db
    .selectFrom("reconcile_reports")
    .select("body")
    .where("vehicle_id", "=", vehicle.id)
    .where("report_id", "=", vehicle.latest_report_id)
    .orderBy("id", "desc")
    .executeTakeFirst();
  return row?.body ?? null;
}

function selectRecords(time: ViewTime): RawBuilder<VehicleRecord> {
  return sql`select v.*,
      ${onlineSql(time.offlineBefore)} as online,
      ${silentSql(time.offlineBefore)} as silent,
      case when ${onlineSql(time.offlineBefore)} then null else ${silentSinceSql(time)} end as silent_since,
      (select m.rollout_id from rollout_members m where m.vehicle_id = v.id and m.open) as rollout_id,
      (select k.key_id from vehicle_keys k where k.vehicle_id = v.id and k.status = 'pending'
        order by k.created_at desc, k.key_id limit 1) as pending_key_id,
      exists (select 1 from claims c where c.vehicle_id = v.id and c.used_at is null
        and c.expires_at > ${time.at}::timestamptz) as claimed,
      (v.excluded_at is not null and (v.excluded_until is null or v.excluded_until > ${time.at}::timestamptz)) as excluded
    from vehicles v`;
}

/** A vehicle that was never heard is offline since it was added. */
function silentSinceSql(time: ViewTime): RawBuilder<string> {
  const afterMs = Date.parse(time.at) - Date.parse(time.offlineBefore);
  return sql`coalesce(v.last_seen_at + ${afterMs} * interval '1 millisecond', v.created_at)`;
}

function conditions(filter: VehicleFilter, time: ViewTime): readonly RawBuilder<boolean>[] {
  const online = onlineSql(time.offlineBefore);
  const { condition, model, region, ring, status, reasonCode, drifting, search } = filter;
  return [
    ...(condition === undefined ? [] : [condition]),
    ...(model === undefined ? [] : [sql<boolean>`v.model = ${model}`]),
    ...(region === undefined ? [] : [sql<boolean>`v.region = ${region}`]),
    ...(ring === undefined ? [] : [sql<boolean>`v.ring = ${ring}`]),
    ...(status === undefined
      ? []
      : [status === "offline" ? sql<boolean>`not ${online}` : sql<boolean>`(${online} and v.status = ${status})`]),
    ...(reasonCode === undefined
      ? []
      : [
          reasonCode === REASONS.HEARTBEAT_TIMEOUT.code
            ? silentSql(time.offlineBefore)
            : sql<boolean>`v.reason_codes @> array[${reasonCode}]::text[]`,
        ]),
    ...(drifting === undefined
      ? []
      : [drifting ? sql<boolean>`v.drift <> '[]'::jsonb` : sql<boolean>`v.drift = '[]'::jsonb`]),
    // Ids have no characters that LIKE would read as a pattern.
    ...(search === undefined ? [] : [sql<boolean>`v.id like ${`%${search}%`}`]),
  ];
}

function sortSql(by: VehicleSort, time: ViewTime): RawBuilder<unknown> {
  switch (by) {
    case "id":
      return sql`v.id`;
    case "status":
      return statusSql(time.offlineBefore);
    case "statusSince":
      return sql`case when ${onlineSql(time.offlineBefore)} then v.status_since else ${silentSinceSql(time)} end`;
    case "lastSeenAt":
      return sql`v.last_seen_at`;
    case "createdAt":
      return sql`v.created_at`;
  }
}

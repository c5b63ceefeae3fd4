import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import { REASONS } from "@muto/spec";
import { wake } from "./database.ts";
import type { Db } from "./database.ts";

/** The moment from which a vehicle's view is computed: what was last seen before `offlineBefore` is offline. */
export interface ViewTime {
  readonly at: string;
  readonly offlineBefore: string;
}

/**
 * What an operator sees of vehicle `v` as SQL: `offline` when nothing was heard since the threshold, else the convergence
 * status. Both are stored apart, because offline is no answer to "what runs there?".
 */
export function statusSql(offlineBefore: string): RawBuilder<string> {
  return sql`case when ${onlineSql(offlineBefore)} then v.status else 'offline' end`;
}

export function onlineSql(offlineBefore: string): RawBuilder<boolean> {
  return sql<boolean>`coalesce(v.last_seen_at >= ${offlineBefore}::timestamptz, false)`;
}

/** Nothing was heard for longer than the threshold: since the last sign of life, or since the vehicle was added. */
export function silentSql(offlineBefore: string): RawBuilder<boolean> {
  return sql<boolean>`(coalesce(v.last_seen_at, v.created_at) < ${offlineBefore}::timestamptz)`;
}

/** The codes of the last report, and HEARTBEAT_TIMEOUT beside them while nothing is heard. */
export function reasonCodesSql(offlineBefore: string): RawBuilder<readonly string[]> {
  const timeout = sql`${REASONS.HEARTBEAT_TIMEOUT.code}::text`;
  return sql`case when ${silentSql(offlineBefore)} then v.reason_codes || ${timeout} else v.reason_codes end`;
}

/**
 * Tells the live feed how the vehicles of the subquery (one column, `vehicle_id`) stand now, in one statement. Call it in
 * the transaction that changed them.
 */
export async function appendVehicleEvents(
  db: Db,
  time: ViewTime,
  vehicles: RawBuilder<{ vehicle_id: string }>,
): Promise<void> {
  await sql`
    insert into events (at, type, data)
    select ${time.at}::timestamptz, 'vehicle', jsonb_build_object(
      'type', 'vehicle', 'at', ${time.at}::text, 'vehicleId', v.id,
      'status', ${statusSql(time.offlineBefore)}, 'convergence', v.status,
      'connectivity', case when ${onlineSql(time.offlineBefore)} then 'online' else 'offline' end,
      'reasonCodes', to_jsonb(${reasonCodesSql(time.offlineBefore)}),
      'actualStack', case when v.actual_digest is null then null else jsonb_build_object(
        'name', v.actual_name, 'version', v.actual_version, 'manifestDigest', v.actual_digest) end,
      'desiredRevision', v.desired_revision, 'drifting', v.drift <> '[]'::jsonb)
    from vehicles v where v.id in (${vehicles}) order by v.id`.execute(db);
  await wake(db, "muto_feed");
}

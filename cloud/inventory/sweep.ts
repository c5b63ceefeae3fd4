import { sql } from "kysely";
import { REASONS } from "@muto/spec";
import type { Db } from "../store/database.ts";
import { appendVehicleEvents } from "../store/vehicle-events.ts";
import type { ViewTime } from "../store/vehicle-events.ts";

/** Vehicles that one sweep marks at most, so that a fleet that falls silent at once is told in bounded transactions. */
const SWEEP_VEHICLES_MAX = 5_000;

/**
 * Notices vehicles that have gone silent: HEARTBEAT_TIMEOUT in their timeline and an event in the feed, once per silence.
 * The status itself follows from the time of the last sign of life and needs no sweep. Returns how many were marked;
 * a whole batch means that there may be more.
 */
export async function sweepSilent(
  db: Db,
  time: ViewTime,
): Promise<{ readonly marked: number; readonly more: boolean }> {
  return await db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ id: string }>`
      with silent as (
        select v.id from vehicles v
        where v.offline_since is null and v.decommissioned_at is null
          and coalesce(v.last_seen_at, v.created_at) < ${time.offlineBefore}::timestamptz
        order by v.id limit ${SWEEP_VEHICLES_MAX} for update skip locked
      ), marked as (
        update vehicles v set offline_since = ${time.at}::timestamptz from silent where v.id = silent.id
        returning v.id, v.desired_sequence, v.desired_revision, v.actual_name, v.actual_version, v.actual_digest
      )
      insert into timeline (vehicle_id, at, event, sequence, revision, stack_name, stack_version, stack_digest, reason_codes)
      select id, ${time.at}::timestamptz, 'blocked', nullif(desired_sequence, 0), desired_revision,
        actual_name, actual_version, actual_digest, array[${REASONS.HEARTBEAT_TIMEOUT.code}]
      from marked returning vehicle_id as id`.execute(trx);
    const ids = rows.map(({ id }) => id);
    if (ids.length > 0) {
      await appendVehicleEvents(trx, time, sql`select unnest(${ids}::text[]) as vehicle_id`);
    }
    return { marked: ids.length, more: ids.length === SWEEP_VEHICLES_MAX };
  });
}

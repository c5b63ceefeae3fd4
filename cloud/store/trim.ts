import { sql } from "kysely";
import type { Db } from "./database.ts";
import { placeEvents } from "./events.ts";

/** How much history is kept. Audit entries and reconcile reports are evidence and stay. */
export const HISTORY = {
  timelinePerVehicleMax: 100,
  eventsKeptSec: 86_400,
  idempotencyKeptSec: 86_400,
  expiredClaimsKeptSec: 604_800,
} as const;

/** Keeps the bounded histories within their bounds; set-based, one statement each. */
export async function trimHistory(db: Db, at: string): Promise<void> {
  await sql`
    delete from timeline using (
      select id, row_number() over (partition by vehicle_id order by id desc) as rank from timeline
    ) ranked where timeline.id = ranked.id and ranked.rank > ${HISTORY.timelinePerVehicleMax}`.execute(db);
  // An event without a position would be gone without leaving a gap, and who resumes would not know that he missed it.
  await placeEvents(db);
  await sql`
    delete from events where at < ${at}::timestamptz - make_interval(secs => ${HISTORY.eventsKeptSec})`.execute(db);
  await sql`
    delete from idempotency_keys
    where created_at < ${at}::timestamptz - make_interval(secs => ${HISTORY.idempotencyKeptSec})`.execute(db);
  await sql`
    delete from claims where used_at is null
      and expires_at < ${at}::timestamptz - make_interval(secs => ${HISTORY.expiredClaimsKeptSec})`.execute(db);
  await sql`delete from attachments where expires_at < ${at}::timestamptz`.execute(db);
}

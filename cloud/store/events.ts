import { sql } from "kysely";
import type { FleetEvent } from "@muto/spec";
import { wake } from "./database.ts";
import type { Db } from "./database.ts";

/** Adds to the live feed inside the caller's transaction; readers are woken when it commits. */
export async function appendEvents(db: Db, events: readonly FleetEvent[]): Promise<void> {
  if (events.length === 0) return;
  await db
    .insertInto("events")
    .values(events.map((event) => ({ at: event.at, type: event.type, data: JSON.stringify(event) })))
    .execute();
  await wake(db, "muto_feed");
}

export interface PlacedEvent {
  /** Rises without gaps; what a client sends back as Last-Event-ID. */
  readonly position: number;
  readonly event: FleetEvent;
}

/**
 * Gives a position to every event that no running transaction can still precede. One caller at a time, by the lock on the
 * head; the others find nothing left to do. `settledBefore` (no transaction lives that long) rescues events whose
 * transaction numbers come from another server after a restore.
 */
export async function placeEvents(db: Db, settledBefore: string): Promise<number> {
  return await db.transaction().execute(async (trx) => {
    const { position } = await trx.selectFrom("event_head").select("position").forUpdate().executeTakeFirstOrThrow();
    const placed = await sql`
      with settled as (
        select id, row_number() over (order by xid, id) as rank
        from events
        where position is null
          and (xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint or at < ${settledBefore}::timestamptz)
      )
      update events set position = ${position}::bigint + settled.rank
      from settled where settled.id = events.id`.execute(trx);
    const count = Number(placed.numAffectedRows ?? 0n);
    if (count > 0) {
      await trx
        .updateTable("event_head")
        .set({ position: position + count })
        .execute();
    }
    return count;
  });
}

/** Events after a position, oldest first. */
export async function eventsAfter(db: Db, position: number, limit: number): Promise<readonly PlacedEvent[]> {
  const rows = await db
    .selectFrom("events")
    .select(["position", "data"])
    .where("position", ">", position)
    .orderBy("position")
    .limit(limit)
    .execute();
  return rows.flatMap((row) => (row.position === null ? [] : [{ position: row.position, event: row.data }]));
}

/** Where the feed begins and ends now; a client that resumes from outside has missed something or comes from elsewhere. */
export async function feedBounds(db: Db): Promise<{ readonly oldest: number; readonly newest: number }> {
  const { position } = await db.selectFrom("event_head").select("position").executeTakeFirstOrThrow();
  const first = await db
    .selectFrom("events")
    .select((select) => select.fn.min("position").as("oldest"))
    .executeTakeFirst();
  return { oldest: first?.oldest ?? position + 1, newest: position };
}

/** The feed is a window, not a history: what is older is in the audit log and the reports. */
export async function pruneEvents(db: Db, before: string): Promise<void> {
  await db.deleteFrom("events").where("at", "<", before).where("position", "is not", null).execute();
}

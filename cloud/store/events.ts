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
 * Gives the next positions to all events that have committed, one caller at a time by the lock on the head. What commits later
 * gets a later position, however early its transaction began, so a reader that follows positions misses nothing.
 */
export async function placeEvents(db: Db): Promise<number> {
  return await db.transaction().execute(async (trx) => {
    const { position } = await trx.selectFrom("event_head").select("position").forUpdate().executeTakeFirstOrThrow();
    const placed = await sql`
      with committed as (
        select id, row_number() over (order by id) as rank from events where position is null
      )
      update events set position = ${position}::bigint + committed.rank
      from committed where committed.id = events.id`.execute(trx);
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

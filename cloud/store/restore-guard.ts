import { sql } from "kysely";
import { SYSTEM } from "./actor.ts";
import { appendAudit } from "./audit.ts";
import { wake } from "./database.ts";
import type { Db } from "./database.ts";

/**
 * A database that was restored from a backup is older than the world: vehicles know sequences that it does not. Until an
 * operator has confirmed that, nothing new is started and all rollouts are paused (H16).
 */
export interface RestoreGuard {
  readonly detectedAt: string;
}

const KEY = "restore-guard";

/** Undefined when all is well. Read it in the transaction that would start something. */
export async function restoreGuard(db: Db): Promise<RestoreGuard | undefined> {
  const { rows } = await sql<{ detected_at: string | null }>`
    select value ->> 'detectedAt' as detected_at from settings where key = ${KEY}`.execute(db);
  const detectedAt = rows[0]?.detected_at;
  return typeof detectedAt === "string" ? { detectedAt } : undefined;
}

/**
 * Records the highest sequence that a vehicle has accepted. Above what is stored for it, it raises the guard and wakes the
 * controller, which pauses the rollouts. Once an operator has confirmed a restore, each vehicle may be ahead once more
 * without raising it again: all of them were there before the backup was put back.
 */
export async function noteFloor(
  db: Db,
  vehicle: { readonly id: string; readonly desired_sequence: number; readonly floor_unchecked: boolean },
  floor: number,
  at: string,
): Promise<void> {
  await db
    .updateTable("vehicles")
    .set({ sequence_floor: sql`greatest(sequence_floor, ${floor}::bigint)`, floor_unchecked: false })
    .where("id", "=", vehicle.id)
    .execute();
  if (floor <= vehicle.desired_sequence || vehicle.floor_unchecked) return;
  const raised = await db
    .insertInto("settings")
    .values({ key: KEY, value: JSON.stringify({ detectedAt: at }) })
    .onConflict((conflict) => conflict.column("key").doNothing())
    .executeTakeFirst();
  if ((raised.numInsertedOrUpdatedRows ?? 0n) === 0n) return;
  await appendAudit(db, {
    at,
    actor: SYSTEM,
    action: "database.restore-detected",
    subject: { type: "database", id: "control-plane" },
    after: { vehicleId: vehicle.id, knownToVehicle: floor, stored: vehicle.desired_sequence },
  });
  await wake(db, "muto_work");
}

/** Vehicles that know a higher sequence than is stored for them. */
export async function vehiclesAhead(db: Db): Promise<number> {
  const { count } = await db
    .selectFrom("vehicles")
    .select((select) => select.fn.countAll<number>().as("count"))
    .whereRef("sequence_floor", ">", "desired_sequence")
    .executeTakeFirstOrThrow();
  return count;
}

/** Lowers the guard; what is ahead is issued again, above what it knows, at each vehicle's next poll. */
export async function lowerGuard(db: Db): Promise<void> {
  await db.deleteFrom("settings").where("key", "=", KEY).execute();
  await db.updateTable("vehicles").set({ floor_unchecked: true }).where("floor_unchecked", "=", false).execute();
  await wake(db, "muto_work");
}

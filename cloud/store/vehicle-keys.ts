import type { Facts } from "@muto/spec";
import type { Db } from "./database.ts";
import type { ActorText, VehicleKeysTable } from "./tables.ts";

export interface VehicleKey {
  readonly keyid: string;
  readonly vehicleId: string;
  readonly publicKey: string;
  readonly status: VehicleKeysTable["status"];
}

/** A key belongs to one vehicle for ever, whatever became of it. */
export async function findKey(db: Db, keyid: string): Promise<VehicleKey | undefined> {
  const row = await db
    .selectFrom("vehicle_keys")
    .select(["key_id", "vehicle_id", "public_key", "status"])
    .where("key_id", "=", keyid)
    .executeTakeFirst();
  return row && { keyid: row.key_id, vehicleId: row.vehicle_id, publicKey: row.public_key, status: row.status };
}

export async function insertKey(
  db: Db,
  key: {
    readonly vehicleId: string;
    readonly keyid: string;
    readonly publicKey: string;
    readonly status: "active" | "pending";
    readonly origin: VehicleKeysTable["origin"];
    readonly facts: Facts;
    readonly at: string;
    readonly decidedBy: ActorText | null;
  },
): Promise<void> {
  await db
    .insertInto("vehicle_keys")
    .values({
      key_id: key.keyid,
      vehicle_id: key.vehicleId,
      public_key: key.publicKey,
      status: key.status,
      origin: key.origin,
      facts: JSON.stringify(key.facts),
      created_at: key.at,
      decided_at: key.status === "active" ? key.at : null,
      decided_by: key.decidedBy,
    })
    .execute();
}

/** Drops waiting keys of a vehicle between the oldest and the newest, so that asking again and again cannot fill the database. */
export async function boundPending(
  db: Db,
  vehicleId: string,
  { oldestKept, newestKept }: { readonly oldestKept: number; readonly newestKept: number },
): Promise<void> {
  const waiting = await db
    .selectFrom("vehicle_keys")
    .select("key_id")
    .where("vehicle_id", "=", vehicleId)
    .where("status", "=", "pending")
    .orderBy("created_at")
    .orderBy("key_id")
    .execute();
  const dropped = waiting.slice(oldestKept, Math.max(oldestKept, waiting.length - newestKept));
  if (dropped.length === 0) return;
  await db
    .deleteFrom("vehicle_keys")
    .where(
      "key_id",
      "in",
      dropped.map(({ key_id }) => key_id),
    )
    .execute();
}

/** Whether a key of the vehicle has been waiting since a moment after `since`. */
export async function hasPendingSince(db: Db, vehicleId: string, since: string): Promise<boolean> {
  const found = await db
    .selectFrom("vehicle_keys")
    .select("key_id")
    .where("vehicle_id", "=", vehicleId)
    .where("status", "=", "pending")
    .where("created_at", ">", since)
    .executeTakeFirst();
  return found !== undefined;
}

/**
 * Makes a waiting key the vehicle's own: a former key is revoked at once, an alarm ends, and a retired vehicle is in service
 * again. The newest assignment is told anew, because the sessions of the former key end.
 */
export async function activateKey(
  db: Db,
  key: VehicleKey,
  decision: { readonly at: string; readonly by: ActorText },
): Promise<void> {
  await retireKeys(db, key.vehicleId, decision);
  await db
    .updateTable("vehicle_keys")
    .set({ status: "active", decided_at: decision.at, decided_by: decision.by })
    .where("key_id", "=", key.keyid)
    .execute();
  await db
    .updateTable("vehicles")
    .set({
      key_id: key.keyid,
      public_key: key.publicKey,
      revoked_at: null,
      decommissioned_at: null,
      clone_alarm_at: null,
      updated_at: decision.at,
    })
    .where("id", "=", key.vehicleId)
    .execute();
  await db
    .updateTable("assignments")
    .set({ notified_at: null })
    .where("vehicle_id", "=", key.vehicleId)
    .where("superseded_at", "is", null)
    .execute();
}

/**
 * An operator has looked: the vehicle's own key goes on, and whichever installation speaks next speaks for it. Should two of
 * them still take turns, the second to speak raises the alarm again.
 */
export async function endCloneAlarm(db: Db, vehicleId: string, at: string): Promise<void> {
  await db
    .updateTable("vehicles")
    .set({ clone_alarm_at: null, install_id: null, updated_at: at })
    .where("id", "=", vehicleId)
    .execute();
  await db
    .updateTable("assignments")
    .set({ notified_at: null })
    .where("vehicle_id", "=", vehicleId)
    .where("superseded_at", "is", null)
    .execute();
}

/** The registered key and every unused claim of the vehicle die. */
export async function retireKeys(
  db: Db,
  vehicleId: string,
  decision: { readonly at: string; readonly by: ActorText },
): Promise<void> {
  await db
    .updateTable("vehicle_keys")
    .set({ status: "revoked", decided_at: decision.at, decided_by: decision.by })
    .where("vehicle_id", "=", vehicleId)
    .where("status", "=", "active")
    .execute();
  await db
    .updateTable("vehicles")
    .set({ key_id: null, public_key: null, updated_at: decision.at })
    .where("id", "=", vehicleId)
    .execute();
  await db.deleteFrom("claims").where("vehicle_id", "=", vehicleId).where("used_at", "is", null).execute();
}

import { createHash } from "node:crypto";
import type { ActorText } from "./tables.ts";
import type { Db } from "./database.ts";

/** Only this is kept of a claim token: whoever reads the database cannot enrol. */
export function hashOfClaim(token: string): string {
  return createHash("sha256").update(token, "utf8").digest("hex");
}

export interface StoredClaim {
  readonly id: string;
  readonly vehicleId: string;
  readonly expiresAt: string;
  readonly usedAt: string | null;
  readonly usedByKey: string | null;
}

/** Makes a claim; an older unused one of the vehicle dies. */
export async function insertClaim(
  db: Db,
  claim: {
    readonly id: string;
    readonly vehicleId: string;
    readonly tokenHash: string;
    readonly at: string;
    readonly by: ActorText;
    readonly expiresAt: string;
  },
): Promise<void> {
  await db.deleteFrom("claims").where("vehicle_id", "=", claim.vehicleId).where("used_at", "is", null).execute();
  await db
    .insertInto("claims")
    .values({
      id: claim.id,
      vehicle_id: claim.vehicleId,
      token_hash: claim.tokenHash,
      created_at: claim.at,
      created_by: claim.by,
      expires_at: claim.expiresAt,
    })
    .execute();
}

/** Locked until the end of the transaction, so that a claim is used once. */
export async function findClaim(db: Db, tokenHash: string): Promise<StoredClaim | undefined> {
  const row = await db
    .selectFrom("claims")
    .select(["id", "vehicle_id", "expires_at", "used_at", "used_by_key"])
    .where("token_hash", "=", tokenHash)
    .forUpdate()
    .executeTakeFirst();
  return (
    row && {
      id: row.id,
      vehicleId: row.vehicle_id,
      expiresAt: row.expires_at,
      usedAt: row.used_at,
      usedByKey: row.used_by_key,
    }
  );
}

export async function useClaim(
  db: Db,
  id: string,
  use: { readonly at: string; readonly keyid: string },
): Promise<void> {
  await db.updateTable("claims").set({ used_at: use.at, used_by_key: use.keyid }).where("id", "=", id).execute();
}

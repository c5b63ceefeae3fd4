import { sql } from "kysely";
import type { Db } from "./database.ts";

/** Attachments of one vehicle that are kept at most; the oldest go first. */
const PER_VEHICLE_MAX = 50;

export async function saveAttachment(
  db: Db,
  attachment: {
    readonly digest: string;
    readonly vehicleId: string;
    readonly bytes: Uint8Array;
    readonly at: string;
    readonly expiresAt: string;
  },
): Promise<void> {
  const { digest, vehicleId, bytes, at, expiresAt } = attachment;
  await db
    .insertInto("attachments")
    .values({ digest, vehicle_id: vehicleId, bytes, created_at: at, expires_at: expiresAt })
    .onConflict((conflict) => conflict.column("digest").doUpdateSet({ expires_at: expiresAt }))
    .execute();
  await sql`
    delete from attachments where digest in (
      select digest from attachments where vehicle_id = ${vehicleId}
      order by created_at desc, digest offset ${PER_VEHICLE_MAX})`.execute(db);
}

export async function readAttachment(db: Db, digest: string, at: string): Promise<Uint8Array | undefined> {
  const row = await db
    .selectFrom("attachments")
    .select("bytes")
    .where("digest", "=", digest)
    .where("expires_at", ">", at)
    .executeTakeFirst();
  return row?.bytes;
}

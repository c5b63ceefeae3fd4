import { sql } from "kysely";
import type { Db } from "./database.ts";

/** Removes the schema with everything in it, in one transaction: the database is as before its first start, or untouched. */
export async function dropEverything(db: Db): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`drop schema public cascade`.execute(trx);
    await sql`create schema public`.execute(trx);
  });
}

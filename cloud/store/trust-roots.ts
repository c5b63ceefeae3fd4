import type { Actor, Envelope } from "@muto/spec";
import { appendAudit } from "./audit.ts";
import type { Db } from "./database.ts";

/** One version of the trust root, signed by offline keys; who fetches it verifies it against the version he has. */
export async function readTrustRoot(db: Db, version: number): Promise<Envelope | undefined> {
  const row = await db.selectFrom("trust_roots").select("envelope").where("version", "=", version).executeTakeFirst();
  return row?.envelope;
}

/** Makes a version available; a version never changes. False when it was there already. Call it inside a transaction. */
export async function publishTrustRoot(
  db: Db,
  root: { readonly version: number; readonly envelope: Envelope; readonly at: string; readonly actor: Actor },
): Promise<boolean> {
  const { version, envelope, at, actor } = root;
  const inserted = await db
    .insertInto("trust_roots")
    .values({ version, envelope: JSON.stringify(envelope), published_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if ((inserted.numInsertedOrUpdatedRows ?? 0n) === 0n) return false;
  await appendAudit(db, {
    at,
    actor,
    action: "trust.root-published",
    subject: { type: "trust-root", id: String(version) },
    after: { version, signatures: envelope.signatures.map(({ keyid }) => keyid) },
  });
  return true;
}

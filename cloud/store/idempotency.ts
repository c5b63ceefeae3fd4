import { sql } from "kysely";
import type { Db } from "./database.ts";
import type { Json } from "./tables.ts";

/** What became of an Idempotency-Key when a request came with it. */
export type KeyClaim =
  /** Nobody has used it, or whoever did never answered: go ahead. */
  | { readonly kind: "new" }
  | { readonly kind: "in-flight" }
  | { readonly kind: "other-request" }
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Json;
    };

/** A first request that has not answered for this long has died with its process. */
const IN_FLIGHT_MS_MAX = 60_000;

/** Takes the key for a request, atomically: of two at the same time exactly one is new. */
export async function claimKey(
  db: Db,
  request: { readonly principal: string; readonly key: string; readonly hash: string; readonly at: string },
): Promise<KeyClaim> {
  const { principal, key, hash, at } = request;
  const taken = await sql`
    insert into idempotency_keys (principal, key, request_hash, created_at)
    values (${principal}, ${key}, ${hash}, ${at}::timestamptz)
    on conflict (principal, key) do update set created_at = excluded.created_at
      where idempotency_keys.status is null and idempotency_keys.request_hash = excluded.request_hash
        and idempotency_keys.created_at < excluded.created_at - ${IN_FLIGHT_MS_MAX} * interval '1 millisecond'
    returning key`.execute(db);
  if (taken.rows.length > 0) return { kind: "new" };
  const known = await db
    .selectFrom("idempotency_keys")
    .select(["request_hash", "status", "headers", "body"])
    .where("principal", "=", principal)
    .where("key", "=", key)
    .executeTakeFirst();
  if (known === undefined) return { kind: "in-flight" };
  if (known.request_hash !== hash) return { kind: "other-request" };
  if (known.status === null) return { kind: "in-flight" };
  return { kind: "answered", status: known.status, headers: known.headers ?? {}, body: known.body };
}

/** Keeps the answer; inside the transaction that did the work where there is one. */
export async function keepAnswer(
  db: Db,
  request: { readonly principal: string; readonly key: string },
  answer: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: unknown },
): Promise<void> {
  await db
    .updateTable("idempotency_keys")
    .set({
      status: answer.status,
      headers: JSON.stringify(answer.headers),
      body: answer.body === undefined ? null : JSON.stringify(answer.body),
    })
    .where("principal", "=", request.principal)
    .where("key", "=", request.key)
    .execute();
}

/** A request that was refused has changed nothing, so the key may be used again. */
export async function releaseKey(db: Db, request: { readonly principal: string; readonly key: string }): Promise<void> {
  await db
    .deleteFrom("idempotency_keys")
    .where("principal", "=", request.principal)
    .where("key", "=", request.key)
    .where("status", "is", null)
    .execute();
}

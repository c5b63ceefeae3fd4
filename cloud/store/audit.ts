import { sql } from "kysely";
import type { Selectable } from "kysely";
import type { Actor, AuditAction, AuditEntry, AuditState, AuditSubject } from "@muto/spec";
import { actorText, readActor, readSubject, subjectText } from "./actor.ts";
import { hashOfEntry, verifyChain } from "./audit-chain.ts";
import type { ChainVerdict } from "./audit-chain.ts";
import type { Db } from "./database.ts";
import { appendEvents } from "./events.ts";
import type { AuditLogTable } from "./tables.ts";

/** One decision, human or automatic. `before` and `after` name what changed; null where there was or is nothing. */
export interface NewAuditEntry {
  readonly at: string;
  readonly actor: Actor;
  readonly action: AuditAction;
  readonly subject: AuditSubject;
  readonly correlationId?: string | null;
  readonly before?: AuditState | null;
  readonly after?: AuditState | null;
  readonly comment?: string | null;
}

/**
 * Appends to the chain inside the caller's transaction, so that a decision and its entry exist together or not at all.
 * From here to the commit no other transaction can append: call it last, and keep what follows short.
 */
export async function appendAudit(db: Db, entry: NewAuditEntry): Promise<AuditEntry> {
  const head = await db.selectFrom("audit_head").select(["seq", "hash"]).forUpdate().executeTakeFirstOrThrow();
  const unchained = {
    seq: head.seq + 1,
    at: entry.at,
    actor: entry.actor,
    action: entry.action,
    subject: entry.subject,
    correlationId: entry.correlationId ?? null,
    before: plainJson(entry.before),
    after: plainJson(entry.after),
    comment: entry.comment ?? null,
    previousHash: head.hash,
  };
  const chained: AuditEntry = { ...unchained, hash: hashOfEntry(unchained) };
  await db
    .insertInto("audit_log")
    .values({
      seq: chained.seq,
      at: chained.at,
      actor: actorText(chained.actor),
      action: chained.action,
      subject: subjectText(chained.subject),
      correlation_id: chained.correlationId,
      before: chained.before === null ? null : JSON.stringify(chained.before),
      after: chained.after === null ? null : JSON.stringify(chained.after),
      comment: chained.comment,
      prev_hash: chained.previousHash,
      hash: chained.hash,
    })
    .execute();
  await db.updateTable("audit_head").set({ seq: chained.seq, hash: chained.hash }).execute();
  await appendEvents(db, [{ type: "audit", at: chained.at, entry: chained }]);
  return chained;
}

export interface AuditFilter {
  /** `type:id`, or an id of any type. */
  readonly actor?: string;
  readonly action?: AuditAction;
  readonly correlationId?: string;
  /** `type:id`, or an id of any type. */
  readonly subject?: string;
  /** Inclusive. */
  readonly from?: string;
  /** Exclusive. */
  readonly to?: string;
}

/** Newest first. */
export async function listAudit(
  db: Db,
  filter: AuditFilter,
  page: { readonly offset: number; readonly limit: number },
): Promise<{ readonly entries: readonly AuditEntry[]; readonly total: number }> {
  const matching = db
    .selectFrom("audit_log")
    .where((where) =>
      where.and([
        ...(filter.actor === undefined ? [] : [namedBy("actor", filter.actor)]),
        ...(filter.subject === undefined ? [] : [namedBy("subject", filter.subject)]),
        ...(filter.action === undefined ? [] : [where("action", "=", filter.action)]),
        ...(filter.correlationId === undefined ? [] : [where("correlation_id", "=", filter.correlationId)]),
        ...(filter.from === undefined ? [] : [where("at", ">=", filter.from)]),
        ...(filter.to === undefined ? [] : [where("at", "<", filter.to)]),
      ]),
    );
  const { total } = await matching
    .select((select) => select.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await matching.selectAll().orderBy("seq", "desc").offset(page.offset).limit(page.limit).execute();
  return { entries: rows.map(auditEntryOf), total };
}

/** Recomputes the whole chain in slices and compares its end with the recorded head, so that cutting off the end shows too. */
export async function verifyAudit(db: Db): Promise<ChainVerdict> {
  const head = await db.selectFrom("audit_head").select(["seq", "hash"]).executeTakeFirstOrThrow();
  let end: { readonly seq: number; readonly hash: string } | undefined;
  for (;;) {
    const rows = await db
      .selectFrom("audit_log")
      .selectAll()
      .where("seq", ">", end?.seq ?? 0)
      .where("seq", "<=", head.seq)
      .orderBy("seq")
      .limit(SLICE_ENTRIES)
      .execute();
    const verdict = verifyChain(rows.map(auditEntryOf), end);
    if (!verdict.ok) return verdict;
    const last = rows.at(-1);
    if (last !== undefined) end = { seq: last.seq, hash: last.hash };
    if (rows.length < SLICE_ENTRIES) break;
  }
  if ((end?.seq ?? 0) < head.seq) return { ok: false, seq: (end?.seq ?? 0) + 1, problem: "gap" };
  if (end !== undefined && end.hash !== head.hash) return { ok: false, seq: end.seq, problem: "entry-changed" };
  return { ok: true, entries: head.seq, hash: head.hash };
}

const SLICE_ENTRIES = 1000;

function namedBy(column: "actor" | "subject", name: string) {
  // The id itself may contain a colon, so a name is compared with the whole text and with all behind the first colon.
  const text = sql.ref(column);
  return sql<boolean>`(${text} = ${name} or substr(${text}, strpos(${text}, ':') + 1) = ${name})`;
}

function auditEntryOf(row: Selectable<AuditLogTable>): AuditEntry {
  return {
    seq: row.seq,
    at: row.at,
    actor: readActor(row.actor),
    action: row.action,
    subject: readSubject(row.subject),
    correlationId: row.correlation_id,
    before: row.before,
    after: row.after,
    comment: row.comment,
    previousHash: row.prev_hash,
    hash: row.hash,
  };
}

/** What JSON makes of it, so that what is hashed is what will be read back (undefined fields are gone, for instance). */
function plainJson(state: AuditState | null | undefined): AuditState | null {
  if (state === null || state === undefined) return null;
  const plain: AuditState = JSON.parse(JSON.stringify(state));
  return plain;
}

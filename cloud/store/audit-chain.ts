import { createHash } from "node:crypto";
import type { AuditEntry } from "@muto/spec";

/**
 * The hash chain of the audit log, pure, so that anybody who has the entries can prove that none was changed, removed or
 * put in between: every hash covers the entry and the hash of the entry before it.
 */
export type UnchainedEntry = Omit<AuditEntry, "hash">;

/** previousHash of the very first entry. */
export const CHAIN_START = `sha256:${"0".repeat(64)}`;

/** SHA-256 over the entry as JSON with sorted keys, hash left out. */
export function hashOfEntry(entry: UnchainedEntry): string {
  const { seq, at, actor, action, subject, correlationId, before, after, comment, previousHash } = entry;
  const covered = { seq, at, actor, action, subject, correlationId, before, after, comment, previousHash };
  return `sha256:${createHash("sha256").update(sortedJson(covered)).digest("hex")}`;
}

export type ChainVerdict =
  | { readonly ok: true; readonly entries: number; readonly hash: string }
  | { readonly ok: false; readonly seq: number; readonly problem: "gap" | "link-broken" | "entry-changed" };

/**
 * Checks entries in ascending order of seq, as many as are given. `from` is where the last check ended; left out, the chain
 * must begin at its start.
 */
export function verifyChain(
  entries: Iterable<AuditEntry>,
  from: { readonly seq: number; readonly hash: string } = { seq: 0, hash: CHAIN_START },
): ChainVerdict {
  let { seq, hash } = from;
  let count = 0;
  for (const entry of entries) {
    if (entry.seq !== seq + 1) return { ok: false, seq: seq + 1, problem: "gap" };
    if (entry.previousHash !== hash) return { ok: false, seq: entry.seq, problem: "link-broken" };
    if (hashOfEntry(entry) !== entry.hash) return { ok: false, seq: entry.seq, problem: "entry-changed" };
    ({ seq, hash } = entry);
    count++;
  }
  return { ok: true, entries: count, hash };
}

/** The same text for the same value, whatever order its keys had: PostgreSQL stores JSON with an order of its own. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

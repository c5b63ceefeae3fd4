import { appendAudit } from "./audit.ts";
import type { NewAuditEntry } from "./audit.ts";
import type { Db } from "./database.ts";
import type { Moment } from "./rollout-moment.ts";

/**
 * One transaction's work on rollouts: everything of a step, with its audit entries and events, happens together or not at
 * all, so that a process killed between any two statements has done nothing.
 */
export interface Turn {
  /** An open transaction. */
  readonly db: Db;
  readonly moment: Moment;
  /** A fresh name for a desired state. */
  readonly newRevision: () => string;
  /** Noted here and appended at the end, because the end of the chain is locked from the first entry to the commit. */
  readonly audit: NewAuditEntry[];
}

export function newTurn(db: Db, moment: Moment, newRevision: () => string): Turn {
  return { db, moment, newRevision, audit: [] };
}

export function note(turn: Turn, entry: Omit<NewAuditEntry, "at">): void {
  turn.audit.push({ ...entry, at: turn.moment.at });
}

/** The last thing that a transaction does. */
export async function closeTurn(turn: Turn): Promise<void> {
  for (const entry of turn.audit.splice(0)) await appendAudit(turn.db, entry);
}

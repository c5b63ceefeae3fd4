import { sql } from "kysely";
import type { Db } from "./database.ts";

/**
 * What the processes around a PostgreSQL server do by themselves and the embedded engine, which is one process without them,
 * never does: statistics for its plans, the space of rows that were replaced, and an end to the write-ahead log. Without the
 * first, a fleet of thousands is planned as if it were a dozen; without the last, the log grows for ever.
 */
const UPKEEP = {
  /** A table is looked at anew when so many rows and this share of it have changed. */
  changedMin: 200,
  changedShare: 0.5,
  /** Its space is taken back when so many rows and this share of it are dead. */
  deadMin: 2_000,
  deadShare: 0.5,
  /** So much log is written between two checkpoints: what has to be read again after a crash. */
  logBytesMax: 64 * 1024 * 1024,
} as const;

interface TableRow {
  readonly name: string;
  readonly live: number;
  readonly dead: number;
  readonly changed: number;
}

/** One round over all tables. Each is a statement of its own, so that others get their turn in between. */
export async function keepUp(db: Db, limits: Partial<typeof UPKEEP> = {}): Promise<void> {
  const { changedMin, changedShare, deadMin, deadShare, logBytesMax } = { ...UPKEEP, ...limits };
  const { rows } = await sql<TableRow>`
    select relname as name, n_live_tup as live, n_dead_tup as dead, n_mod_since_analyze as changed
    from pg_stat_user_tables order by relname`.execute(db);
  for (const { name, live, dead, changed } of rows) {
    if (dead > deadMin + live * deadShare) await sql`vacuum (analyze) ${sql.table(name)}`.execute(db);
    else if (changed > changedMin + live * changedShare) await sql`analyze ${sql.table(name)}`.execute(db);
  }
  const written = await sql<{ bytes: number }>`
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), redo_lsn)::bigint as bytes from pg_control_checkpoint()`.execute(
    db,
  );
  if ((written.rows[0]?.bytes ?? 0) > logBytesMax) await sql`checkpoint`.execute(db);
}

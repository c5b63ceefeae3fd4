import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite, types } from "@electric-sql/pglite";
import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import type { Clock } from "@muto/kit/clock";
import { timestamp } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { lockFolder } from "./folder-lock.ts";
import { migrate } from "./migrate.ts";
import type { Migration, MigrationResult, MigrationSession } from "./migrate.ts";
import { embeddedDialect } from "./pglite-dialect.ts";
import { openPostgresListener } from "./postgres-listener.ts";
import type { Tables } from "./tables.ts";
import { keepUp } from "./upkeep.ts";

/** A connection or an open transaction: whoever gets a transaction uses it for everything, or waits for itself for ever. */
export type Db = Kysely<Tables>;

/**
 * The one store. PostgreSQL by URL for a fleet; PGlite in a folder for a desk, a demonstration and tests: one backend,
 * which does not survive a power cut for certain. The statements are the same for both.
 */
export interface Database extends AsyncDisposable {
  readonly db: Db;
  readonly engine: "pglite" | "postgres";
  /**
   * Calls back after each notification that was committed on the channel, and after every reconnection. A notification
   * may be lost with its connection: it only wakes, and whoever listens polls as well.
   */
  listen(channel: Channel, onWake: () => void): Promise<AsyncDisposable>;
  /** One round of what keeps the engine quick, to be called now and then; nothing where a server sees to it itself. */
  upkeep(): Promise<void>;
}

/** work: something for the controller. notify: assignments to tell vehicles of. feed: new server-sent events. */
export const CHANNELS = ["muto_work", "muto_notify", "muto_feed"] as const;
export type Channel = (typeof CHANNELS)[number];

export type DatabaseLocation = { readonly url: string } | { readonly dataDir: string };

export type OpenDatabaseResult =
  | { readonly ok: true; readonly database: Database; readonly applied: readonly string[] }
  | Exclude<MigrationResult, { readonly ok: true }>
  | { readonly ok: false; readonly problem: "folder-in-use"; readonly folder: string };

export interface OpenDatabaseOptions {
  readonly location: DatabaseLocation;
  readonly migrations: readonly Migration[];
  readonly clock: Clock;
  readonly logger: Logger;
}

const CONNECTIONS_MAX = 16;
/** Includes the wait for a free connection of the pool. */
const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 60_000;
const LOCK_TIMEOUT_MS = 20_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;

/** Opens the database and brings its schema up to date. Throws when it cannot be reached at all. */
export async function openDatabase(options: OpenDatabaseOptions): Promise<OpenDatabaseResult> {
  return "url" in options.location
    ? await openPostgres(options.location.url, options)
    : await openPglite(options.location.dataDir, options);
}

/** Wakes the listeners of a channel when the transaction commits. */
export async function wake(db: Db, channel: Channel): Promise<void> {
  await sql`select pg_notify(${channel}, '')`.execute(db);
}

async function openPglite(dataDir: string, options: OpenDatabaseOptions): Promise<OpenDatabaseResult> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockFolder(dataDir);
  if (lock === undefined) return { ok: false, problem: "folder-in-use", folder: dataDir };
  const pglite = new PGlite(join(dataDir, "pg"), {
    parsers: { [types.TIMESTAMPTZ]: readTimestamp, [types.INT8]: Number },
  });
  const db = new Kysely<Tables>({ dialect: embeddedDialect(pglite, () => options.clock.monotonicMs()) });
  const close = async () => {
    await db.destroy();
    if (!pglite.closed) await pglite.close();
    await lock[Symbol.asyncDispose]();
  };
  const migrated = await attempt(close, async () => {
    await pglite.waitReady;
    await pglite.exec("set time zone 'UTC'");
    // Looking at a table must not keep everything else waiting: a tenth of the usual sample will do.
    await pglite.exec("set default_statistics_target = 10");
    // All of them before anything else is asked: from then on the connection belongs to the statements of `db` alone.
    await pglite.exec(CHANNELS.map((channel) => `listen ${channel};`).join(" "));
    return await pglite.transaction(async (transaction) => {
      const session: MigrationSession = {
        query: async (statement, parameters) =>
          (await transaction.query<Record<string, unknown>>(statement, [...parameters])).rows,
        script: async (statements) => {
          await transaction.exec(statements);
        },
      };
      return await migrate(session, options.migrations, timestamp(options.clock.wallMs()));
    });
  });
  if (!migrated.ok) {
    await close();
    return migrated;
  }
  const database: Database = {
    db,
    engine: "pglite",
    listen: async (channel, onWake) => {
      const stop = pglite.onNotification((rung) => {
        if (rung === channel) onWake();
      });
      return { [Symbol.asyncDispose]: async () => stop() };
    },
    upkeep: async () => await keepUp(db),
    [Symbol.asyncDispose]: close,
  };
  return { ok: true, database, applied: migrated.applied };
}

async function openPostgres(url: string, options: OpenDatabaseOptions): Promise<OpenDatabaseResult> {
  const config: pg.PoolConfig = {
    connectionString: url,
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    application_name: "muto",
    options: "-c TimeZone=UTC -c DateStyle=ISO",
    types: { getTypeParser: (oid: number) => postgresParser(oid) },
  };
  const pool = new pg.Pool(config);
  // A connection that dies while idle is replaced at the next use; without a listener it would end the process.
  const onLost = (error: Error) => options.logger.warn("database connection lost", { error: error.message });
  pool.on("error", onLost);
  // One that dies while it is used tells so through the statement that fails, and again here.
  pool.on("connect", (client) => client.on("error", onLost));
  const migrated = await attempt(
    () => pool.end(),
    async () => await migratePostgres(pool, options),
  );
  if (!migrated.ok) {
    await pool.end();
    return migrated;
  }
  const listener = openPostgresListener(() => new pg.Client(config), options.clock, options.logger);
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  const database: Database = {
    db,
    engine: "postgres",
    listen: (channel, onWake) => listener.listen(channel, onWake),
    upkeep: async () => {},
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]();
      await db.destroy();
      if (!pool.ended) await pool.end();
    },
  };
  return { ok: true, database, applied: migrated.applied };
}

async function migratePostgres(pool: pg.Pool, options: OpenDatabaseOptions): Promise<MigrationResult> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const session: MigrationSession = {
      query: async (statement, parameters) =>
        (await client.query<Record<string, unknown>>(statement, [...parameters])).rows,
      script: async (statements) => {
        await client.query(statements);
      },
    };
    const result = await migrate(session, options.migrations, timestamp(options.clock.wallMs()));
    await client.query(result.ok ? "commit" : "rollback");
    client.release();
    return result;
  } catch (error) {
    // The connection is in an unknown state: it is thrown away, which rolls everything back.
    client.release(true);
    throw error;
  }
}

async function attempt<T>(onFailure: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await onFailure();
    throw error;
  }
}

function postgresParser(oid: number): (text: string) => unknown {
  if (oid === pg.types.builtins.TIMESTAMPTZ) return readTimestamp;
  if (oid === pg.types.builtins.INT8) return Number;
  return pg.types.getTypeParser(oid);
}

/** PostgreSQL writes `2026-11-23 22:54:40.123+00` in a session whose time zone is UTC. */
function readTimestamp(text: string): string {
  return timestamp(Date.parse(text.replace(" ", "T").replace(/\+00$/, "Z")));
}

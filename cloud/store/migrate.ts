import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** One forward-only step of the schema. */
export interface Migration {
  readonly number: number;
  readonly name: string;
  /** True when a binary that does not know this step must not run on a database that has it. */
  readonly breaking: boolean;
  readonly statements: string;
  readonly hash: string;
}

export type MigrationResult =
  | { readonly ok: true; readonly applied: readonly string[] }
  | { readonly ok: false; readonly problem: "newer-breaking-schema" | "history-differs"; readonly migration: string };

/** Reads the numbered SQL files that ship beside this one; the first line of each says whether it is breaking. */
export async function readMigrations(
  folder: string = join(import.meta.dirname, "migrations"),
): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted();
  const migrations = await Promise.all(
    names.map(async (file) => parseMigration(file, await readFile(join(folder, file), "utf8"))),
  );
  for (const [index, { number, name }] of migrations.entries()) {
    if (number !== index + 1) throw new Error(`migration ${name} should have number ${index + 1}`);
  }
  return migrations;
}

export function parseMigration(file: string, statements: string): Migration {
  const parts = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file);
  const breaking = /^-- breaking: (true|false)\n/.exec(statements);
  if (parts === null || breaking === null)
    throw new Error(`migration ${file} has no number or does not say whether it is breaking`);
  return {
    number: Number(parts[1]),
    name: file.slice(0, -".sql".length),
    breaking: breaking[1] === "true",
    statements,
    hash: createHash("sha256").update(statements).digest("hex"),
  };
}

/** An open transaction of either engine, before anything else uses the database. */
export interface MigrationSession {
  query(statement: string, parameters: readonly unknown[]): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** Many statements at once, without parameters. */
  script(statements: string): Promise<void>;
}

/** One advisory lock for every replica that starts at the same moment. */
const MIGRATION_LOCK = 7_368_820;

/**
 * Brings the schema up to date inside the caller's transaction, or refuses: an old binary never runs on a newer breaking
 * schema, and a migration that was changed after it was applied is not this program's history.
 */
export async function migrate(
  session: MigrationSession,
  migrations: readonly Migration[],
  at: string,
): Promise<MigrationResult> {
  await session.query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
  await session.script(`create table if not exists schema_migrations (
    number integer primary key, name text not null, breaking boolean not null, hash text not null, applied_at timestamptz not null
  )`);
  const rows = await session.query("select number, name, breaking, hash from schema_migrations order by number", []);
  const applied = rows.map(({ number, name, breaking, hash }) => ({
    number: Number(number),
    name: String(name),
    breaking: breaking === true,
    hash: String(hash),
  }));
  const refusal = refusalOf(applied, migrations);
  if (refusal !== undefined) return refusal;
  const known = new Set(applied.map(({ number }) => number));
  const missing = migrations.filter(({ number }) => !known.has(number));
  for (const { number, name, breaking, statements, hash } of missing) {
    await session.script(statements);
    await session.query("insert into schema_migrations values ($1, $2, $3, $4, $5)", [
      number,
      name,
      breaking,
      hash,
      at,
    ]);
  }
  return { ok: true, applied: missing.map(({ name }) => name) };
}

function refusalOf(
  applied: readonly Pick<Migration, "number" | "name" | "breaking" | "hash">[],
  known: readonly Migration[],
): MigrationResult | undefined {
  for (const { number, name, breaking, hash } of applied) {
    const own = known[number - 1];
    if (own === undefined && breaking) return { ok: false, problem: "newer-breaking-schema", migration: name };
    if (own !== undefined && own.hash !== hash) return { ok: false, problem: "history-differs", migration: name };
  }
  return undefined;
}

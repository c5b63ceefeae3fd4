import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { jsonLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { createRegistry } from "@muto/oci/registry/registry";
import type { Registry } from "@muto/oci/registry/registry";
import { provision } from "./provision.ts";
import type { Provisions } from "./provision.ts";
import { serve } from "./serve.ts";
import type { Addresses } from "./serve.ts";
import type { CloudSettings } from "./settings.ts";
import { openDatabase } from "./store/database.ts";
import type { OpenDatabaseResult } from "./store/database.ts";
import { dropEverything } from "./store/empty.ts";
import { readMigrations } from "./store/migrate.ts";

export interface RunningCloud extends AsyncDisposable {
  readonly addresses: Addresses;
}

export type StartResult =
  | { readonly ok: true; readonly cloud: RunningCloud }
  | { readonly ok: false; readonly message: string; readonly hint?: string };

export interface CloudOptions {
  readonly settings: CloudSettings;
  /** muto up: what is missing is made, and the registry is embedded. */
  readonly development: boolean;
  /** Takes the lines of the log. */
  readonly log: (line: string) => void;
}

type OpenedStore =
  | Extract<OpenDatabaseResult, { ok: true }>
  | { readonly ok: false; readonly message: string; readonly hint?: string };

/** Starts a whole control plane in this process. Disposing of it answers open requests, then closes in reverse. */
export async function startCloud({ settings, development, log }: CloudOptions): Promise<StartResult> {
  const ports = { clock: systemClock(), random: systemRandom(), disk: systemDisk() };
  const logger = jsonLogger({
    write: log,
    level: settings.logLevel,
    clock: ports.clock,
    with: { program: "muto-cloud" },
  });
  await mkdir(settings.dataDir, { recursive: true, mode: 0o700 });
  const provisioned = await provision(settings, ports, development);
  if (!provisioned.ok) return { ok: false, message: provisioned.message };
  const { provisions } = provisioned;
  const opened = await openStore(settings, log);
  if (!opened.ok) return opened;
  await using stack = new AsyncDisposableStack();
  const database = stack.use(opened.database);
  const registry = development ? await embeddedRegistry(settings, provisions, { ...ports, logger }) : undefined;
  if (registry !== undefined) stack.use(registry);
  const serving = await serve({ settings, provisions, database, registry, logger, ...ports });
  if (!serving.ok) return { ok: false, message: serving.message };
  stack.use(serving);
  const owned = stack.move();
  return {
    ok: true,
    cloud: { addresses: serving.addresses, [Symbol.asyncDispose]: async () => await owned.disposeAsync() },
  };
}

export type MigrateResult =
  | { readonly ok: true; readonly applied: readonly string[] }
  | { readonly ok: false; readonly message: string };

/** Only brings the schema up to date. */
export async function migrateDatabase(settings: CloudSettings, log: (line: string) => void): Promise<MigrateResult> {
  const opened = await openStore(settings, log);
  if (!opened.ok) return opened;
  await opened.database[Symbol.asyncDispose]();
  return { ok: true, applied: opened.applied };
}

async function embeddedRegistry(
  settings: CloudSettings,
  provisions: Provisions,
  ports: Parameters<typeof createRegistry>[0],
): Promise<Registry | undefined> {
  if (settings.registryUrl !== undefined) return undefined;
  // Whoever operates the fleet may push to its development registry, and nobody else.
  const pushTokenHashes = provisions.tokens.filter(({ role }) => role === "operator").map(({ sha256 }) => sha256);
  const folder = resolve(join(settings.dataDir, "registry"));
  return await createRegistry(ports, { folder, pushTokenHashes });
}

/** Removes every table, and with them everything that was known; the next start makes them anew. */
export async function emptyStore(
  settings: CloudSettings,
  log: (line: string) => void,
): Promise<{ readonly ok: true } | { readonly ok: false; readonly message: string }> {
  const opened = await openStore(settings, log);
  if (!opened.ok) return opened;
  await using database = opened.database;
  await dropEverything(database.db);
  return { ok: true };
}

/** The database alone, up to date, for whoever works on it without serving. */
export async function openStore(settings: CloudSettings, log: (line: string) => void): Promise<OpenedStore> {
  const logger = jsonLogger({ write: log, level: settings.logLevel, clock: systemClock() });
  const location =
    settings.databaseUrl === undefined
      ? { dataDir: resolve(join(settings.dataDir, "database")) }
      : { url: settings.databaseUrl };
  try {
    const migrations = await readMigrations();
    const opened = await openDatabase({ location, migrations, clock: systemClock(), logger });
    if (opened.ok) return opened;
    switch (opened.problem) {
      case "folder-in-use":
        return {
          ok: false,
          message: `${opened.folder} is in use by another muto`,
          hint: "stop it, or set MUTO_DATA_DIR",
        };
      case "newer-breaking-schema":
        return {
          ok: false,
          message: `the database has migration ${opened.migration}, which this version does not know`,
        };
      case "history-differs":
        return { ok: false, message: `migration ${opened.migration} differs from the one that was applied` };
    }
  } catch (error) {
    return {
      ok: false,
      message: `the database cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

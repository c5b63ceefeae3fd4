import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { sql } from "kysely";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { openDatabase } from "./database.ts";
import { readMigrations } from "./migrate.ts";
import { copyTemplate } from "./test-database.ts";
import { keepUp } from "./upkeep.ts";

it("keeps statistics, space and log of the embedded database in order", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muto-upkeep-"));
  await copyTemplate(folder);
  const options = { clock: systemClock(), logger: silentLogger, migrations: await readMigrations() };
  const opened = await openDatabase({ location: { dataDir: folder }, ...options });
  assert.ok(opened.ok);
  await using database = opened.database;
  const { db } = database;
  const estimated = async () =>
    (await sql<{ n: number }>`select reltuples::integer as n from pg_class where relname = 'timeline'`.execute(db))
      .rows[0]?.n;
  const redo = async () =>
    (await sql<{ at: string }>`select redo_lsn::text as at from pg_control_checkpoint()`.execute(db)).rows[0]?.at;
  const pages = async () =>
    (await sql<{ n: number }>`select pg_relation_size('timeline')::integer as n`.execute(db)).rows[0]?.n ?? 0;

  await sql`insert into vehicles (id, created_at, updated_at, status_since) values ('v-1', now(), now(), now())`.execute(
    db,
  );
  // The engine gathers what it counts for a second before it tells.
  const told = async () => void (await sql`select pg_stat_force_next_flush()`.execute(db));
  const fill = async () =>
    await sql`insert into timeline (vehicle_id, at, event) select 'v-1', now(), 'ready' from generate_series(1, 3000)`.execute(
      db,
    );
  await fill();
  await told();
  const before = await redo();
  await keepUp(db);
  assert.equal(await estimated(), 3000);
  assert.equal(await redo(), before, "little was written, so there is no checkpoint yet");

  await sql`delete from timeline`.execute(db);
  await told();
  const size = await pages();
  await keepUp(db);
  await fill();
  assert.ok((await pages()) <= size, "the space of what was deleted is used again");

  await keepUp(db, { logBytesMax: 0 });
  assert.notEqual(await redo(), before);
  await rm(folder, { recursive: true, force: true });
});

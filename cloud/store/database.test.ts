import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { sql } from "kysely";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { openDatabase, wake } from "./database.ts";
import type { Database } from "./database.ts";
import { lockFolder } from "./folder-lock.ts";
import { migrate, parseMigration, readMigrations } from "./migrate.ts";
import type { Migration, MigrationSession } from "./migrate.ts";
import { openTestDatabase } from "./test-database.ts";

describe("the database", () => {
  let database: Database;
  before(async () => {
    database = await openTestDatabase();
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
  });

  it("reads times as RFC 3339 with milliseconds, 64-bit numbers as numbers, JSON and lists as values", async () => {
    const at = "2026-11-23T01:02:03.004Z";
    await database.db
      .insertInto("vehicles")
      .values({
        id: "vehicle-1",
        tags: JSON.stringify({ model: "v3", region: "eu" }),
        created_at: at,
        updated_at: at,
        status_since: at,
        sequence_floor: Number.MAX_SAFE_INTEGER,
        reason_codes: ["DENY_MOVING", "DENY_LOW_BATTERY"],
      })
      .execute();
    const row = await database.db
      .selectFrom("vehicles")
      .selectAll()
      .where("id", "=", "vehicle-1")
      .executeTakeFirstOrThrow();
    assert.equal(row.created_at, at);
    assert.equal(row.sequence_floor, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(row.tags, { model: "v3", region: "eu" });
    assert.deepEqual([row.model, row.region, row.ring], ["v3", "eu", null]);
    assert.deepEqual(row.reason_codes, ["DENY_MOVING", "DENY_LOW_BATTERY"]);
  });

  it("wakes listeners when a transaction commits, and not when it is rolled back", async () => {
    const heard: string[] = [];
    let rung = Promise.withResolvers<void>();
    await using _listener = await database.listen("muto_work", () => {
      heard.push("work");
      rung.resolve();
    });
    // A new connection wakes everybody once, because what was said before it was not heard.
    heard.length = 0;
    rung = Promise.withResolvers<void>();
    await assert.rejects(
      database.db.transaction().execute(async (trx) => {
        await wake(trx, "muto_work");
        throw new Error("rolled back");
      }),
    );
    await wake(database.db, "muto_notify");
    await database.db.transaction().execute(async (trx) => await wake(trx, "muto_work"));
    await rung.promise;
    assert.deepEqual(heard, ["work"]);
  });

  it("never lets an audit entry be changed or removed", async () => {
    await sql`insert into audit_log (seq, at, actor, action, subject, prev_hash, hash)
      values (1, '2026-01-01T00:00:00Z', 'a', 'b', 'c', 'p', 'h')`.execute(database.db);
    for (const statement of [
      sql`update audit_log set actor = 'x'`,
      sql`delete from audit_log`,
      sql`truncate audit_log`,
    ]) {
      await assert.rejects(statement.execute(database.db), /append-only/);
    }
  });
});

describe("migrations", () => {
  const step = (number: number, breaking: boolean, statements = "select 1;"): Migration =>
    parseMigration(`${String(number).padStart(4, "0")}_step.sql`, `-- breaking: ${breaking}\n${statements}`);
  const sessionOver = (applied: readonly Migration[]) => {
    const scripts: string[] = [];
    const session: MigrationSession = {
      query: async (statement) => (statement.startsWith("select number") ? applied.map((each) => ({ ...each })) : []),
      script: async (statements) => {
        scripts.push(statements);
      },
    };
    return { session, scripts };
  };

  it("applies what is missing, in order", async () => {
    const { session, scripts } = sessionOver([step(1, true)]);
    const known = [step(1, true), step(2, false, "select 2;"), step(3, false, "select 3;")];
    assert.deepEqual(await migrate(session, known, "2026-01-01T00:00:00.000Z"), {
      ok: true,
      applied: ["0002_step", "0003_step"],
    });
    assert.equal(scripts.length, 3);
  });

  for (const [situation, applied, expected] of [
    [
      "a newer breaking schema is refused",
      [step(1, true), step(2, true)],
      { ok: false, problem: "newer-breaking-schema", migration: "0002_step" },
    ],
    ["a newer schema that is compatible is accepted", [step(1, true), step(2, false)], { ok: true, applied: [] }],
    [
      "a changed history is refused",
      [step(1, true, "select 'other';")],
      { ok: false, problem: "history-differs", migration: "0001_step" },
    ],
  ] as const) {
    it(situation, async () => {
      assert.deepEqual(
        await migrate(sessionOver(applied).session, [step(1, true)], "2026-01-01T00:00:00.000Z"),
        expected,
      );
    });
  }

  it("refuses a file without number or without a word on breaking", () => {
    assert.throws(() => parseMigration("first.sql", "-- breaking: true\n"), /no number/);
    assert.throws(() => parseMigration("0001_first.sql", "create table x ();"), /breaking/);
  });
});

describe("the lock of the data folder", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "muto-lock-"));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it("is held once, and free again after release", async () => {
    const first = await lockFolder(folder);
    assert.ok(first);
    assert.equal(await lockFolder(folder), undefined);
    const refused = await openDatabase({
      location: { dataDir: folder },
      migrations: await readMigrations(),
      clock: systemClock(),
      logger: silentLogger,
    });
    assert.deepEqual(refused, { ok: false, problem: "folder-in-use", folder });
    await first[Symbol.asyncDispose]();
    const second = await lockFolder(folder);
    assert.ok(second);
    await second[Symbol.asyncDispose]();
  });

  it("is free after the process that held it was killed", async () => {
    const holder = spawn(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        `import { lockFolder } from ${JSON.stringify(import.meta.resolve("./folder-lock.ts"))};
         const lock = await lockFolder(${JSON.stringify(folder)});
         process.stdout.write(lock ? "held" : "refused");
         setInterval(() => {}, 1000);`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const [said] = await once(holder.stdout, "data");
    assert.equal(String(said), "held");
    assert.equal(await lockFolder(folder), undefined);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    const lock = await lockFolder(folder);
    assert.ok(lock);
    await lock[Symbol.asyncDispose]();
  });
});

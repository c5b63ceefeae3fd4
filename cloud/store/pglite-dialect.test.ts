import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PGlite } from "@electric-sql/pglite";
import { Kysely, sql } from "kysely";
import { embeddedDialect } from "./pglite-dialect.ts";
import { copyTemplate } from "./test-database.ts";

interface Shelf {
  readonly things: { readonly id: number; readonly name: string | null; readonly tags: readonly string[] };
}

async function openShelf(): Promise<{ readonly db: Kysely<Shelf>; readonly pglite: PGlite; readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "muto-shelf-"));
  await copyTemplate(folder);
  const pglite = new PGlite(join(folder, "pg"));
  const db = new Kysely<Shelf>({ dialect: embeddedDialect(pglite, () => performance.now()) });
  await sql`create table things (id integer primary key, name text, tags text[] not null)`.execute(db);
  return { db, pglite, folder };
}

describe("statements on the embedded database", () => {
  let db: Kysely<Shelf>;
  let folder: string;
  before(async () => {
    ({ db, folder } = await openShelf());
  });
  after(async () => {
    await db.destroy();
    await rm(folder, { recursive: true, force: true });
  });
  const names = async () =>
    (await db.selectFrom("things").select("name").orderBy("id").execute()).map(({ name }) => name);

  it("gives values back as they were, and counts what was changed", async () => {
    const things = [
      { id: 1, name: "a 'quoted' name, \u{1f699}", tags: ["x", "y,z", ""] },
      { id: 2, name: null, tags: [] },
    ];
    const inserted = await db.insertInto("things").values(things).executeTakeFirstOrThrow();
    assert.equal(inserted.numInsertedOrUpdatedRows, 2n);
    assert.deepEqual(await db.selectFrom("things").selectAll().orderBy("id").execute(), things);
    const renamed = await db.updateTable("things").set({ name: "b" }).executeTakeFirstOrThrow();
    assert.equal(renamed.numUpdatedRows, 2n);
    const found = await sql<{ n: number }>`select count(*)::integer as n from things where name = ${"b"}`.execute(db);
    assert.deepEqual(found.rows, [{ n: 2 }]);
    assert.equal((await db.deleteFrom("things").executeTakeFirstOrThrow()).numDeletedRows, 2n);
  });

  it("goes on after a statement that fails, alone and in a transaction", async () => {
    const add = async (on: Kysely<Shelf>, id: number) =>
      await on
        .insertInto("things")
        .values({ id, name: `${id}`, tags: [] })
        .execute();
    await add(db, 1);
    await assert.rejects(add(db, 1), /duplicate key/);
    await assert.rejects(sql`select nothing from nowhere`.execute(db), /nowhere/);
    const failing = db.transaction().execute(async (trx) => {
      await add(trx, 2);
      await add(trx, 1);
    });
    await assert.rejects(failing, /duplicate key/);
    assert.deepEqual(await names(), ["1"]);
    await db.transaction().execute(async (trx) => await add(trx, 2));
    assert.deepEqual(await names(), ["1", "2"]);
  });

  it("never takes a commit for done that the database answered by rolling back", async () => {
    const swallowing = db.transaction().execute(async (trx) => {
      await trx.insertInto("things").values({ id: 3, name: "3", tags: [] }).execute();
      await sql`select 1 / 0`.execute(trx).catch(() => {});
    });
    await assert.rejects(swallowing, /rolled back/);
    assert.deepEqual(await names(), ["1", "2"]);
  });

  it("keeps what others ask meanwhile out of an open transaction", async () => {
    const begun = Promise.withResolvers<void>();
    const failing = db.transaction().execute(async (trx) => {
      await trx.deleteFrom("things").execute();
      begun.resolve();
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error("on purpose");
    });
    await begun.promise;
    const outside = db.insertInto("things").values({ id: 4, name: "4", tags: [] }).execute();
    await assert.rejects(failing, /on purpose/);
    await outside;
    assert.deepEqual(await names(), ["1", "2", "4"]);
  });

  it("forgets the oldest of more statements than it keeps, and prepares anew what the tables left behind", async () => {
    for (let index = 0; index < 450; index++) {
      const { rows } = await sql<{ n: number }>`select ${sql.lit(index)}::integer as n`.execute(db);
      assert.deepEqual(rows, [{ n: index }]);
    }
    const kept = await sql<{ n: number }>`select count(*)::integer as n from pg_prepared_statements`.execute(db);
    assert.deepEqual(kept.rows, [{ n: 400 }]);
    const all = async () => await sql<object>`select * from things where id = 1`.execute(db);
    await all();
    await sql`alter table things add column shelf integer default 7`.execute(db);
    await assert.rejects(all(), /cached plan/);
    assert.deepEqual((await all()).rows, [{ id: 1, name: "1", tags: [], shelf: 7 }]);
  });

  it("lets the event loop turn while statements queue up", async () => {
    let turns = 0;
    const turning = setInterval(() => turns++, 1);
    const started = performance.now();
    const queue = Array.from({ length: 500 }, () => sql`select generate_series(1, 50)`.execute(db));
    await Promise.all(queue);
    clearInterval(turning);
    const tookMs = performance.now() - started;
    assert.ok(turns >= 3, `the event loop turned ${turns} times in ${tookMs} ms`);
  });
});

it("ends who has the embedded database and refuses who waits for it, when it closes", async () => {
  const { db, pglite, folder } = await openShelf();
  const begun = Promise.withResolvers<void>();
  const within = db.transaction().execute(async (trx) => {
    begun.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    await trx.insertInto("things").values({ id: 1, name: "1", tags: [] }).execute();
  });
  await begun.promise;
  const waiting = db.selectFrom("things").selectAll().execute();
  const refused = assert.rejects(waiting, /closed/);
  await db.destroy();
  await within;
  await refused;
  assert.equal(pglite.closed, true);
  await rm(folder, { recursive: true, force: true });
});

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sql } from "kysely";
import { SYSTEM } from "./actor.ts";
import { appendAudit, listAudit, verifyAudit } from "./audit.ts";
import { CHAIN_START, hashOfEntry, verifyChain } from "./audit-chain.ts";
import type { Database } from "./database.ts";
import { eventsAfter, feedBounds, placeEvents } from "./events.ts";
import { openTestDatabase } from "./test-database.ts";
import { trimHistory } from "./trim.ts";

const AT = "2026-11-23T10:00:00.000Z";
const alice = { type: "operator", id: "alice:fleet" } as const;

describe("the audit log", () => {
  let database: Database;
  before(async () => {
    database = await openTestDatabase();
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
  });
  const append = (id: string, actor: typeof alice | typeof SYSTEM = alice) =>
    database.db.transaction().execute(
      async (trx) =>
        await appendAudit(trx, {
          at: AT,
          actor,
          action: "vehicle.created",
          subject: { type: "vehicle", id },
          after: { zebra: 1, alpha: { nested: [1.5, null, "ü"] }, gone: undefined },
          comment: "why",
        }),
    );

  it("chains entries, keeps their order under concurrency, and proves itself", async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => append(`vehicle-${index}`)));
    assert.deepEqual(await verifyAudit(database.db), {
      ok: true,
      entries: 20,
      hash: (await listAudit(database.db, {}, { offset: 0, limit: 1 })).entries[0]?.hash,
    });
    const { entries, total } = await listAudit(database.db, {}, { offset: 0, limit: 200 });
    assert.equal(total, 20);
    assert.deepEqual(
      entries.map(({ seq }) => seq),
      Array.from({ length: 20 }, (_, index) => 20 - index),
    );
    assert.deepEqual(entries[0]?.after, { zebra: 1, alpha: { nested: [1.5, null, "ü"] } });
  });

  it("keeps no entry of a transaction that was rolled back, and no gap", async () => {
    await assert.rejects(
      database.db.transaction().execute(async (trx) => {
        await appendAudit(trx, {
          at: AT,
          actor: alice,
          action: "vehicle.created",
          subject: { type: "vehicle", id: "gone" },
        });
        throw new Error("rolled back");
      }),
    );
    await append("vehicle-after");
    assert.equal((await verifyAudit(database.db)).ok, true);
  });

  it("filters by actor, subject, action and time", async () => {
    await append("vehicle-system", SYSTEM);
    const found = async (filter: Parameters<typeof listAudit>[1]) =>
      (await listAudit(database.db, filter, { offset: 0, limit: 200 })).total;
    const all = await found({});
    assert.equal(await found({ actor: "control-plane" }), 1);
    assert.equal(await found({ actor: "system:control-plane" }), 1);
    assert.equal(await found({ actor: "alice:fleet" }), all - 1);
    assert.equal(await found({ actor: "alice" }), 0);
    assert.equal(await found({ subject: "vehicle-system" }), 1);
    assert.equal(await found({ action: "vehicle.revoked" }), 0);
    assert.equal(await found({ from: AT, to: "2026-11-23T10:00:00.001Z" }), all);
    assert.equal(await found({ to: AT }), 0);
  });

  for (const [situation, tamper, expected] of [
    [
      "a changed entry",
      sql`update audit_log set actor = 'operator:mallory' where seq = 3`,
      { ok: false, seq: 3, problem: "entry-changed" },
    ],
    [
      "a changed state inside an entry",
      sql`update audit_log set after = '{}' where seq = 4`,
      { ok: false, seq: 4, problem: "entry-changed" },
    ],
    ["a removed entry", sql`delete from audit_log where seq = 5`, { ok: false, seq: 5, problem: "gap" }],
    [
      "a rewritten link",
      sql`update audit_log set prev_hash = ${CHAIN_START} where seq = 6`,
      { ok: false, seq: 6, problem: "link-broken" },
    ],
    ["an end that was cut off", sql`delete from audit_log where seq > 7`, { ok: false, seq: 8, problem: "gap" }],
  ] as const) {
    it(`shows ${situation}`, async () => {
      const undo = new Error("undo");
      await assert.rejects(
        database.db.transaction().execute(async (trx) => {
          await sql`alter table audit_log disable trigger audit_log_append_only`.execute(trx);
          await tamper.execute(trx);
          assert.deepEqual(await verifyAudit(trx), expected);
          throw undo;
        }),
        undo,
      );
    });
  }

  it("hashes the same entry alike whatever the order of its keys", () => {
    const entry = {
      seq: 1,
      at: AT,
      actor: alice,
      action: "vehicle.created",
      subject: { type: "vehicle", id: "v1" },
      correlationId: null,
      before: null,
      after: { a: 1, b: 2 },
      comment: null,
      previousHash: CHAIN_START,
    } as const;
    const hash = hashOfEntry(entry);
    assert.equal(hashOfEntry({ ...entry, after: { b: 2, a: 1 } }), hash);
    assert.deepEqual(verifyChain([{ ...entry, hash }]), { ok: true, entries: 1, hash });
    assert.deepEqual(verifyChain([{ ...entry, hash: CHAIN_START }]), { ok: false, seq: 1, problem: "entry-changed" });
  });
});

describe("the live feed", () => {
  let database: Database;
  before(async () => {
    database = await openTestDatabase();
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
  });

  it("gives rising positions, once, and resumes after any of them", async () => {
    for (const id of ["one", "two", "three"]) {
      await database.db.transaction().execute(async (trx) => {
        await appendAudit(trx, { at: AT, actor: alice, action: "vehicle.created", subject: { type: "vehicle", id } });
      });
    }
    assert.deepEqual(await eventsAfter(database.db, 0, 10), []);
    assert.equal(await placeEvents(database.db), 3);
    assert.equal(await placeEvents(database.db), 0);
    const events = await eventsAfter(database.db, 1, 10);
    assert.deepEqual(
      events.map(({ position }) => position),
      [2, 3],
    );
    assert.deepEqual(await feedBounds(database.db), { oldest: 1, newest: 3 });
    await trimHistory(database.db, "2026-11-25T10:00:00.000Z");
    assert.deepEqual(await feedBounds(database.db), { oldest: 4, newest: 3 });
  });
});

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sql } from "kysely";
import type { KyselyPlugin } from "kysely";
import type { StackRef } from "@muto/spec";
import { verifyAudit } from "@muto/cloud/store/audit";
import type { Database, Db } from "@muto/cloud/store/database";
import { openTestDatabase } from "@muto/cloud/store/test-database";
import { TestFleet } from "@muto/cloud/store/test-fleet";
import { each, TestRollouts } from "@muto/cloud/store/test-rollouts";

/*
 * The process dies before the first, the second, the third … statement of every piece of work. After each death the
 * database is as it was before, and the work, taken up again, ends as if nothing had happened.
 */

class Killed extends Error {}

/** Lets so many statements through; the process dies before the next. */
function killingAfter(statements: number): KyselyPlugin {
  let left = statements;
  return {
    transformQuery: ({ node }) => {
      if (left-- === 0) throw new Killed();
      return node;
    },
    transformResult: (args) => Promise.resolve(args.result),
  };
}

const TABLES = [
  "rollouts",
  "rollout_stages",
  "rollout_members",
  "assignments",
  "desired_states",
  "vehicles",
  "timeline",
  "audit_log",
  "audit_head",
  "events",
] as const;

async function fingerprint(db: Db): Promise<string> {
  const parts = TABLES.map(
    (name) =>
      sql`select ${name} as name, md5(string_agg(t::text, '|' order by t::text)) as hash from ${sql.table(name)} t`,
  );
  const { rows } = await sql`${sql.join(parts, sql` union all `)}`.execute(db);
  return JSON.stringify(rows);
}

describe("a process that is killed between two statements", () => {
  let database: Database;
  let fleet: TestFleet;
  let rollouts: TestRollouts;
  let good: StackRef;
  let next: StackRef;
  let deaths = 0;
  before(async () => {
    database = await openTestDatabase();
    fleet = new TestFleet(database.db);
    rollouts = new TestRollouts(fleet);
    good = await fleet.addRelease("1.0.0");
    next = await fleet.addRelease("2.0.0");
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
  });

  /** Does the work again and again, each time one statement further, until it is done; nothing may be left behind by a death. */
  const throughDeaths = async <T>(work: () => Promise<T>): Promise<T> => {
    const untouched = await fingerprint(database.db);
    for (let statements = 0; ; statements++) {
      rollouts.around = (db) => db.withPlugin(killingAfter(statements));
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        deaths++;
        assert.equal(await fingerprint(database.db), untouched, `killed before statement ${statements + 1}`);
      } finally {
        rollouts.around = (db) => db;
      }
    }
  };
  const step = async (id: string) => (await throughDeaths(async () => await rollouts.step(id))).kind;

  it("leaves nothing half done in a rollout that goes well", async () => {
    const ids = await rollouts.cars(4, good);
    const [canary = "", ...others] = ids;
    const id = await throughDeaths(
      async () => await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0 } }),
    );
    assert.equal(await step(id), "assignCanaries");
    await rollouts.converge(canary);
    assert.equal(await step(id), "startSoak");
    assert.equal(await step(id), "startWave");
    assert.equal(await step(id), "assignWave");
    await throughDeaths(async () => await rollouts.command(id, { kind: "pause" }));
    await throughDeaths(async () => await rollouts.command(id, { kind: "resume", how: "wait" }));
    assert.deepEqual(await rollouts.holding(ids), { ...each(others, "2.0.0 wave"), [canary]: "2.0.0 canary" });
    const perVehicle = await sql<{ vehicle_id: string; issued: number }>`
      select vehicle_id, count(*) as issued from assignments where rollout_id = ${id} group by vehicle_id order by 1`.execute(
      database.db,
    );
    // The canary had answered; the others were assigned, told to wait, and assigned again: once each.
    assert.deepEqual(
      perVehicle.rows.map(({ issued }) => issued),
      [1, 3, 3, 3],
    );
    await rollouts.converge(...others);
    assert.equal(await step(id), "startWatch");
    assert.equal(await step(id), "complete");
  });

  it("leaves nothing half done in one that turns back", async () => {
    const ids = await rollouts.cars(3, good);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await rollouts.converge(canary);
    await rollouts.run(id);
    await fleet.report(others[0] ?? "", {
      status: "rolled_back",
      reasonCodes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"],
    });
    assert.equal(await step(id), "rollBack");
    assert.deepEqual(await rollouts.holding(ids), each(ids, "1.0.0 rollback"));
    await rollouts.converge(...ids);
    assert.equal(await step(id), "finishRollback");
    assert.equal(await rollouts.state(id), "rolled_back wave clean");
  });

  it("has died often enough for this to mean something, and its audit log is whole", async () => {
    assert.ok(deaths > 100, `${deaths} deaths`);
    assert.equal((await verifyAudit(database.db)).ok, true);
  });
});

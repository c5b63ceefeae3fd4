import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sql } from "kysely";
import type { StackRef } from "@muto/spec";
import { verifyAudit } from "@muto/cloud/store/audit";
import type { Database } from "@muto/cloud/store/database";
import { isClaimConflict } from "@muto/cloud/store/rollout-create";
import { lockRollout } from "@muto/cloud/store/rollouts";
import { openTestDatabase } from "@muto/cloud/store/test-database";
import { TestFleet } from "@muto/cloud/store/test-fleet";
import { TestRollouts } from "@muto/cloud/store/test-rollouts";
import { advanceRollout, runController } from "@muto/cloud/controller";
import { silentLogger } from "@muto/kit/logger";
import { systemClock } from "@muto/kit/clock";
import { seededRandom } from "@muto/kit/random";
import { startPostgres } from "./postgres.ts";
import type { PostgresServer } from "./postgres.ts";

/*
 * Several replicas of the control plane on one PostgreSQL: PGlite is a single backend and can say nothing of this.
 */
describe("rollouts on several replicas", () => {
  let server: PostgresServer;
  let database: Database;
  let fleet: TestFleet;
  let rollouts: TestRollouts;
  let good: StackRef;
  let next: StackRef;
  before(async () => {
    server = await startPostgres();
    database = await openTestDatabase(await server.createDatabase());
    fleet = new TestFleet(database.db);
    rollouts = new TestRollouts(fleet);
    good = await fleet.addRelease("1.0.0");
    next = await fleet.addRelease("2.0.0");
  });
  after(async () => {
    await database[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** The clock of the test fleet, as the controller's port. */
  const ports = () => ({
    clock: { ...systemClock(), wallMs: () => fleet.moment().nowMs },
    random: seededRandom(fleet.moment().nowMs),
    offlineAfterMs: fleet.moment().offlineAfterMs,
  });
  const advance = async (id: string) => await advanceRollout(database.db, id, ports());
  const issuedPerVehicle = async (id: string) => {
    const { rows } = await sql<{ vehicle_id: string; issued: number }>`
      select vehicle_id, count(*) as issued from assignments where rollout_id = ${id} group by vehicle_id`.execute(
      database.db,
    );
    return new Map(rows.map((row) => [row.vehicle_id, row.issued]));
  };

  it("takes each step once, however many try, while reports come in", async () => {
    const ids = await rollouts.cars(60, good);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0, maxInFlight: 7 } });
    const done = new AbortController();
    const replica = async () => {
      while (!done.signal.aborted) await advance(id);
    };
    const replicas = [replica(), replica(), replica(), replica()];
    const vehicles = async () => {
      const open = new Set(ids);
      while (open.size > 0) {
        for (const vehicle of open) {
          if ((await fleet.assignment(vehicle)) === undefined) continue;
          await rollouts.converge(vehicle);
          open.delete(vehicle);
        }
      }
    };
    await vehicles();
    while ((await rollouts.row(id)).status !== "completed") await advance(id);
    done.abort();
    await Promise.all(replicas);
    assert.equal(await rollouts.state(id), "completed watch clean");
    const issued = await issuedPerVehicle(id);
    assert.deepEqual([...issued.keys()].toSorted(), [...ids].toSorted());
    assert.ok(
      [...issued.values()].every((count) => count === 1),
      "nobody was assigned twice",
    );
    assert.equal(others.length, 59);
    assert.notEqual(canary, "");
    assert.equal((await verifyAudit(database.db)).ok, true);
  });

  it("lets the others pass by a rollout that one replica has, and waits for it with a command", async () => {
    const ids = await rollouts.cars(2, good);
    const id = await rollouts.create(next, ids);
    const held = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const holder = database.db.transaction().execute(async (trx) => {
      await lockRollout(trx, id, "wait");
      held.resolve();
      await release.promise;
    });
    await held.promise;
    assert.equal(await advance(id), undefined);
    const pausing = rollouts.command(id, { kind: "pause" });
    release.resolve();
    await holder;
    assert.deepEqual(await pausing, { kind: "done" });
    assert.equal((await advance(id))?.kind, "wait", "nothing is assigned after the pause");
    assert.deepEqual(await rollouts.holding(ids), Object.fromEntries(ids.map((each) => [each, "nothing"])));
  });

  it("claims a vehicle for exactly one of two rollouts that begin at the same moment (H27)", async () => {
    for (let round = 0; round < 5; round++) {
      const ids = await rollouts.cars(8, good);
      const results = await Promise.allSettled([rollouts.create(next, ids), rollouts.create(next, ids.toReversed())]);
      const refused = results.filter((result) => result.status === "rejected");
      assert.equal(refused.length, 1);
      assert.ok(isClaimConflict(refused[0]?.reason), String(refused[0]?.reason));
    }
  });

  it("never assigns a withdrawn release, whoever is first", async () => {
    for (let round = 0; round < 5; round++) {
      const doomed = await fleet.addRelease(`3.0.${round}`);
      const ids = await rollouts.cars(3, good);
      const id = await rollouts.create(doomed, ids);
      await Promise.all([advance(id), fleet.withdraw(doomed.version)]);
      const before = await issuedPerVehicle(id);
      while ((await advance(id))?.kind !== "wait");
      const state = await rollouts.state(id);
      assert.ok(state.startsWith("rolled") || state.startsWith("rolling"), state);
      const holding = Object.values(await rollouts.holding(ids));
      assert.ok(
        holding.every((text) => text === "nothing" || text === "1.0.0 rollback"),
        holding.join(", "),
      );
      assert.ok(before.size <= 1);
    }
  });

  it("is woken by a commit, takes the steps, and ends when it is told to", async () => {
    const ids = await rollouts.cars(3, good);
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0 } });
    const stop = new AbortController();
    const running = [1, 2].map(() =>
      runController({ database, logger: silentLogger, lastHeardMs: null, ...ports() }, stop.signal),
    );
    const until = async (state: string) => {
      while ((await rollouts.state(id)) !== state) await systemClock().sleep(20);
    };
    await until("active canary");
    while ((await rollouts.holding(ids))[ids[0] ?? ""] === "nothing") await systemClock().sleep(20);
    await rollouts.converge(ids[0] ?? "");
    await sql`select pg_notify('muto_work', '')`.execute(database.db);
    await until("active wave");
    while (Object.values(await rollouts.holding(ids)).includes("nothing")) await systemClock().sleep(20);
    await rollouts.converge(...ids.slice(1));
    await sql`select pg_notify('muto_work', '')`.execute(database.db);
    await until("completed watch clean");
    stop.abort();
    await Promise.all(running);
  });
});

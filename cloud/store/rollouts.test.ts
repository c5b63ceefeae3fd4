import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sql } from "kysely";
import type { StackRef } from "@muto/spec";
import { classify } from "../rollout/classify.ts";
import type { MemberFacts } from "../rollout/classify.ts";
import { listAudit, verifyAudit } from "./audit.ts";
import type { Database } from "./database.ts";
import { CLASS_SQL } from "./rollout-members.ts";
import { isClaimConflict } from "./rollout-create.ts";
import { openTestDatabase } from "./test-database.ts";
import { OFFLINE_AFTER_MS, TestFleet } from "./test-fleet.ts";
import { each, TestRollouts } from "./test-rollouts.ts";

const DAY = 24 * 3600 * 1000;

describe("rollouts in the database", () => {
  let database: Database;
  let fleet: TestFleet;
  let rollouts: TestRollouts;
  let good: StackRef;
  let next: StackRef;
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

  const cars = (size: number) => rollouts.cars(size, good);
  const converge = (...ids: readonly string[]) => rollouts.converge(...ids);

  it("goes through canary, soak, wave and watch, and ends clean", async () => {
    const ids = await cars(5);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids);
    assert.deepEqual(await rollouts.run(id), ["assignCanaries"]);
    assert.deepEqual(await rollouts.holding(ids), { ...each(others, "nothing"), [canary]: "2.0.0 canary" });
    await fleet.report(canary, { status: "applying", phase: "switch" });
    assert.deepEqual(await rollouts.run(id), []);
    await converge(canary);
    assert.deepEqual(await rollouts.run(id), ["startSoak"]);
    fleet.sleep(599_999);
    assert.deepEqual(await rollouts.run(id), []);
    fleet.sleep(1);
    await fleet.hear(...ids);
    assert.deepEqual(await rollouts.run(id), ["startWave", "assignWave"]);
    assert.deepEqual(await rollouts.holding(others), each(others, "2.0.0 wave"));
    await converge(...others);
    assert.deepEqual(await rollouts.run(id), ["startWatch"]);
    fleet.sleep(3_600_000);
    assert.deepEqual(await rollouts.run(id), ["complete"]);
    assert.equal(await rollouts.state(id), "completed watch clean");
    assert.equal((await rollouts.row(id)).step_due_at, null);
    const { entries } = await listAudit(database.db, { subject: id }, { offset: 0, limit: 50 });
    assert.deepEqual(
      entries.map(({ action }) => action).toReversed(),
      [
        ["rollout.created"],
        ["rollout.verdict-changed"],
        ["rollout.verdict-changed", "rollout.stage-started"],
        ["rollout.verdict-changed", "rollout.stage-started"],
        ["rollout.verdict-changed"],
        ["rollout.verdict-changed", "rollout.stage-started"],
        ["rollout.verdict-changed"],
        ["rollout.completed"],
      ].flat(),
    );
  });

  it("takes back a canary that fails, and never touches anybody else", async () => {
    const ids = await cars(4);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    await fleet.report(canary, { status: "rolled_back", reasonCodes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] });
    assert.deepEqual(await rollouts.run(id), ["rollBack"]);
    assert.deepEqual(await rollouts.holding(ids), { ...each(others, "nothing"), [canary]: "1.0.0 rollback" });
    await converge(canary);
    assert.deepEqual(await rollouts.run(id), ["finishRollback"]);
    assert.equal(await rollouts.state(id), "rolled_back canary clean");
    fleet.sleep(30 * DAY);
    await fleet.hear(...ids);
    assert.deepEqual(await rollouts.run(id), []);
    assert.deepEqual(await rollouts.holding(others), each(others, "nothing"));
  });

  it("counts no report without a signature, for another assignment, or for another revision (H18, H16)", async () => {
    const ids = await cars(2);
    const [canary = ""] = ids;
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    await fleet.report(canary, { status: "converged", signed: false });
    await fleet.report(canary, { status: "converged", sequence: 99 });
    assert.deepEqual(await rollouts.run(id), []);
    assert.equal((await rollouts.row(id)).counts?.pending, 1);
    await converge(canary);
    assert.deepEqual(await rollouts.run(id), ["startSoak"]);
    await rollouts.command(id, { kind: "abort" });
  });

  it("is not failed by a vehicle that rejects a replayed or expired assignment", async () => {
    const ids = await cars(2);
    const [canary = ""] = ids;
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    await fleet.report(canary, { status: "failed", phase: "verify", reasonCodes: ["DESIRED_STATE_REJECTED"] });
    assert.deepEqual(await rollouts.run(id), []);
    assert.equal((await rollouts.row(id)).counts?.pending, 1);
    await fleet.report(canary, { status: "failed", phase: "verify", reasonCodes: ["INCOMPATIBLE_OS"] });
    assert.deepEqual(await rollouts.run(id), ["rollBack"]);
    await rollouts.command(id, { kind: "supersede" });
  });

  it("orders reports by installation and number, not by arrival", async () => {
    const ids = await cars(2);
    const [canary = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    // The second installation is a re-imaged vehicle; what the first one said before does not come after it.
    await fleet.report(canary, { status: "failed", reasonCodes: ["APPLY_FAILED"], installId: "0".repeat(26) });
    fleet.sleep(1000);
    await fleet.report(canary, { status: "converged", installId: "1".repeat(26) });
    await rollouts.run(id);
    assert.equal((await rollouts.row(id)).counts?.converged, 1);
    await rollouts.command(id, { kind: "abort" });
  });

  it("paces the wave by those on their way, and gives those out of reach theirs at once", async () => {
    const ids = await cars(8);
    const [canary = "", ...others] = ids;
    const away = others.slice(-2);
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, maxInFlight: 2 } });
    await rollouts.run(id);
    await converge(canary);
    fleet.sleep(OFFLINE_AFTER_MS + 1);
    await fleet.hear(...ids.slice(0, -2));
    await rollouts.run(id);
    const expected = { ...each(others, "nothing"), ...each([...others.slice(0, 2), ...away], "2.0.0 wave") };
    assert.deepEqual(await rollouts.holding(others), expected);
    await converge(others[0] ?? "");
    assert.deepEqual(await rollouts.run(id), ["assignWave"]);
    assert.deepEqual(await rollouts.holding(others), { ...expected, [others[2] ?? ""]: "2.0.0 wave" });
    await fleet.report(others[1] ?? "", { status: "blocked", phase: "gate", reasonCodes: ["DENY_MOVING"] });
    assert.deepEqual(await rollouts.run(id), [], "a blocked vehicle may start at any moment and keeps its place");
    await converge(...others.slice(1, 3));
    await rollouts.run(id);
    await converge(...others.slice(3, 5));
    assert.deepEqual(await rollouts.run(id), ["startWatch"]);
    fleet.sleep(3_600_000);
    assert.deepEqual(await rollouts.run(id), ["complete"]);
    assert.equal(await rollouts.state(id), "completed watch stragglers");
    await converge(...away);
    assert.deepEqual((await rollouts.step(id)).kind, "wait");
    assert.equal((await rollouts.row(id)).counts?.converged, 8, "stragglers are counted when they come");
  });

  it("sends back a wave that fails, those who converged and those who did not, and stops who has not begun", async () => {
    const ids = await cars(12);
    const [canary = "", ...others] = ids;
    const [bad = "", begun = "", fine = ""] = others;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await converge(canary);
    await rollouts.run(id);
    await converge(fine);
    await fleet.report(begun, { status: "applying", phase: "switch" });
    await fleet.report(bad, { status: "rolled_back", reasonCodes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"] });
    assert.deepEqual(await rollouts.run(id), ["rollBack"]);
    assert.deepEqual(await rollouts.holding(ids), each(ids, "1.0.0 rollback"));
    await converge(...ids.slice(0, 11));
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "rolling_back wave");
    fleet.sleep(OFFLINE_AFTER_MS + 1);
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "rolled_back wave stragglers");
  });

  it("stops as by fail when its release is withdrawn", async () => {
    const doomed = await fleet.addRelease("3.0.0");
    const ids = await cars(3);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(doomed, ids);
    await rollouts.run(id);
    await converge(canary);
    await fleet.withdraw("3.0.0");
    assert.deepEqual(await rollouts.run(id), ["rollBack"]);
    assert.deepEqual(await rollouts.holding(ids), { ...each(others, "nothing"), [canary]: "1.0.0 rollback" });
  });

  it("claims a vehicle for one unfinished rollout at a time, and sets it free at the end (H27)", async () => {
    const ids = await cars(2);
    const first = await rollouts.create(next, ids);
    await assert.rejects(rollouts.create(next, ids), isClaimConflict);
    await rollouts.command(first, { kind: "supersede" });
    assert.equal(await rollouts.state(first), "completed canary superseded");
    const second = await rollouts.create(next, ids);
    await rollouts.command(second, { kind: "abort" });
  });

  it("leaves out who is excluded before it was assigned, and takes it back when the exclusion ends", async () => {
    const ids = await cars(3);
    const [canary = "", excluded = "", other = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await fleet.exclude(excluded, 1000);
    await converge(canary);
    await rollouts.run(id);
    assert.deepEqual(await rollouts.holding([excluded, other]), { [excluded]: "nothing", [other]: "2.0.0 wave" });
    await converge(other);
    assert.deepEqual(await rollouts.run(id), ["startWatch"]);
    assert.equal((await rollouts.row(id)).counts?.members, 2);
    fleet.sleep(1000);
    assert.deepEqual(await rollouts.run(id), ["assignWave"]);
    await converge(excluded);
    await rollouts.run(id);
    assert.equal((await rollouts.row(id)).counts?.converged, 3);
    await rollouts.command(id, { kind: "abort" });
  });

  it("leaves a vehicle alone for which two installations answer (H19)", async () => {
    const ids = await cars(3);
    const [canary = "", clone = "", other = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await fleet.db.updateTable("vehicles").set({ clone_alarm_at: fleet.moment().at }).where("id", "=", clone).execute();
    await converge(canary);
    await rollouts.run(id);
    assert.deepEqual(await rollouts.holding([clone, other]), { [clone]: "nothing", [other]: "2.0.0 wave" });
    await converge(other);
    assert.deepEqual(await rollouts.run(id), [], "a member that was never assigned is not passed over in silence");
    fleet.sleep(7 * DAY);
    assert.deepEqual(await rollouts.run(id), ["pauseInconclusive"]);
    await rollouts.command(id, { kind: "abort" });
  });

  it("lifts a quarantine once, and not again with every re-issue (H15)", async () => {
    const ids = await cars(1);
    const [car = ""] = ids;
    const id = await rollouts.create(next, ids, { retry: true });
    await rollouts.run(id);
    assert.equal((await fleet.assignment(car))?.retry, true);
    await rollouts.command(id, { kind: "pause" });
    assert.equal((await fleet.assignment(car))?.retry, true, "the vehicle has not heard of it yet");
    const heard = (await fleet.assignment(car))?.sequence ?? 0;
    await fleet.db.updateTable("vehicles").set({ sequence_floor: heard }).where("id", "=", car).execute();
    await rollouts.command(id, { kind: "resume", how: "wait" });
    const again = await fleet.assignment(car);
    assert.deepEqual([again?.start, again?.retry], ["allowed", false]);
    await rollouts.command(id, { kind: "abort" });
  });

  it("numbers above what the vehicle itself has accepted (H16)", async () => {
    const ids = await cars(1);
    const [car = ""] = ids;
    await fleet.db.updateTable("vehicles").set({ sequence_floor: 41 }).where("id", "=", car).execute();
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    assert.equal((await fleet.assignment(car))?.sequence, 42);
    await rollouts.command(id, { kind: "abort" });
  });

  it("pauses everything while the database is older than the world (H16)", async () => {
    const ids = await cars(2);
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    await fleet.db
      .insertInto("settings")
      .values({ key: "restore-guard", value: JSON.stringify({ detectedAt: fleet.moment().at }) })
      .execute();
    await fleet.report(ids[0] ?? "", { status: "rolled_back", reasonCodes: ["CRASH_LOOP_DETECTED"] });
    assert.deepEqual(await rollouts.run(id), ["pauseRestored"]);
    await fleet.db.deleteFrom("settings").where("key", "=", "restore-guard").execute();
    assert.deepEqual(await rollouts.run(id), []);
    assert.equal((await rollouts.row(id)).pause?.cause, "restored-database");
    await rollouts.command(id, { kind: "abort" });
  });

  it("gives every member the same class in SQL as in the engine", async () => {
    const terminals = [null, "converged", "failed", "rolled_back"] as const;
    const latests = [null, "converged", "failed", "rolled_back", "applying", "blocked", "pending"] as const;
    const members = [true, false].flatMap((assigned) =>
      terminals.flatMap((terminal) =>
        latests.flatMap((latest) => [true, false].map((online) => ({ assigned, terminal, latest, online }))),
      ),
    );
    const { rows } = await sql<MemberFacts & { readonly class: string }>`
      select *, ${CLASS_SQL} as class
      from jsonb_to_recordset(${JSON.stringify(members)}::jsonb)
        as members (assigned boolean, terminal text, latest text, online boolean)`.execute(database.db);
    assert.equal(rows.length, members.length);
    for (const row of rows) assert.equal(row.class, classify(row), JSON.stringify(row));
  });

  it("keeps one chain of audit entries over all of this", async () => {
    const verdict = await verifyAudit(database.db);
    assert.equal(verdict.ok, true);
  });
});

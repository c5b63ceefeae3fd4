import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { StackRef } from "@muto/spec";
import { renewAssignment } from "./assignments.ts";
import type { Database } from "./database.ts";
import { openTestDatabase } from "./test-database.ts";
import { TestFleet } from "./test-fleet.ts";
import { each, TestRollouts } from "./test-rollouts.ts";

const DAY = 24 * 3600 * 1000;

describe("what people ask of rollouts", () => {
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

  it("pauses, withholds who has not begun, lets the others finish, and goes on where it was (H10)", async () => {
    const ids = await cars(4);
    const [canary = "", waiting = "", begun = "", done = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await converge(canary);
    await rollouts.run(id);
    await fleet.report(waiting, { status: "blocked", phase: "gate", reasonCodes: ["DENY_OUTSIDE_WINDOW"] });
    await fleet.report(begun, { status: "applying", phase: "probe" });
    await converge(done);
    assert.deepEqual(await rollouts.command(id, { kind: "pause" }), { kind: "done" });
    assert.deepEqual(await rollouts.command(id, { kind: "pause" }), { kind: "already" });
    const held = { [canary]: "2.0.0 canary", [waiting]: "2.0.0 wave withheld" };
    assert.deepEqual(await rollouts.holding(ids), { ...held, [begun]: "2.0.0 wave", [done]: "2.0.0 wave" });
    await converge(begun);
    assert.deepEqual(await rollouts.run(id), []);
    await fleet.report(waiting, { status: "converged", sequence: 1 });
    assert.equal((await rollouts.step(id)).kind, "wait");
    assert.equal((await rollouts.row(id)).counts?.converged, 4, "it had begun before the news reached it");
    assert.deepEqual(await rollouts.command(id, { kind: "resume", how: "wait" }), { kind: "done" });
    assert.equal(await rollouts.state(id), "active watch");
    const { rollback_sequence } = await fleet.db
      .selectFrom("rollout_members")
      .select("rollback_sequence")
      .where("vehicle_id", "=", waiting)
      .executeTakeFirstOrThrow();
    assert.equal(rollback_sequence, null);
    await rollouts.command(id, { kind: "abort" });
  });

  it("gives the withheld their release back after a resume, and never a second time", async () => {
    const ids = await cars(3);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await converge(canary);
    await rollouts.run(id);
    await rollouts.command(id, { kind: "pause" });
    assert.deepEqual(await rollouts.holding(others), each(others, "2.0.0 wave withheld"));
    await rollouts.command(id, { kind: "resume", how: "wait" });
    assert.deepEqual(await rollouts.holding(others), each(others, "2.0.0 wave"));
    const before = await fleet.assignment(others[0] ?? "");
    await rollouts.run(id);
    assert.deepEqual(await fleet.assignment(others[0] ?? ""), before);
    await rollouts.command(id, { kind: "abort" });
    assert.deepEqual(await rollouts.holding(others), each(others, "2.0.0 wave withheld"));
    assert.equal(await rollouts.state(id), "completed wave aborted");
  });

  it("pauses for a person when canaries stay away, and takes others of their group", async () => {
    const ids = await cars(4);
    const [canary = "", second = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    fleet.sleep(7 * DAY);
    await fleet.hear(second);
    assert.deepEqual(await rollouts.run(id), ["pauseInconclusive"]);
    assert.equal((await rollouts.row(id)).pause?.cause, "inconclusive");
    assert.deepEqual(await rollouts.holding([canary]), { [canary]: "2.0.0 canary withheld" });
    const refused = await rollouts.command(id, { kind: "rollback", cast: "wave" });
    assert.equal(refused.kind === "refused" && refused.refusal, "nobody-given");
    assert.deepEqual(await rollouts.command(id, { kind: "resume", how: "replaceCanaries" }), { kind: "done" });
    assert.deepEqual(await rollouts.holding([canary, second]), {
      [canary]: "2.0.0 canary withheld",
      [second]: "2.0.0 canary",
    });
    await converge(second);
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "active wave");
    assert.deepEqual(await rollouts.holding([canary]), { [canary]: "2.0.0 wave" });
    await rollouts.command(id, { kind: "abort" });
  });

  it("pauses and aborts while a canary whose place was taken still holds the release (H10)", async () => {
    const ids = await cars(4);
    const [canary = "", second = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0 } });
    await rollouts.run(id);
    await fleet.report(canary, { status: "applying", phase: "download" });
    fleet.sleep(7 * DAY);
    await fleet.hear(second);
    await rollouts.run(id);
    await rollouts.command(id, { kind: "resume", how: "replaceCanaries" });
    await fleet.hear(canary);
    await fleet.report(canary, { status: "blocked", phase: "gate", reasonCodes: ["DENY_MOVING"] });
    assert.deepEqual(await rollouts.command(id, { kind: "pause" }), { kind: "done" });
    assert.deepEqual(await rollouts.holding([canary]), { [canary]: "2.0.0 canary withheld" });
    assert.deepEqual(await rollouts.command(id, { kind: "abort" }), { kind: "done" });
  });

  it("refuses to replace canaries when nobody of their group is within reach", async () => {
    const ids = await cars(2);
    const id = await rollouts.create(next, ids);
    await rollouts.run(id);
    fleet.sleep(7 * DAY);
    await rollouts.run(id);
    const refused = await rollouts.command(id, { kind: "resume", how: "replaceCanaries" });
    assert.equal(refused.kind === "refused" && refused.refusal, "nothing-to-replace");
    assert.equal(await rollouts.state(id), "paused canary");
    assert.deepEqual(await rollouts.command(id, { kind: "resume", how: "acceptInconclusive" }), { kind: "done" });
    assert.equal(await rollouts.state(id), "active soak");
    fleet.sleep(600_000);
    assert.deepEqual(await rollouts.run(id), ["startWave", "assignWave"]);
    await rollouts.command(id, { kind: "abort" });
  });

  it("waits on with a new deadline", async () => {
    const ids = await cars(1);
    const id = await rollouts.create(next, ids, { settings: { blockedMaxAgeSec: 3600, stageDeadlineSec: 7200 } });
    await rollouts.run(id);
    await fleet.report(ids[0] ?? "", { status: "blocked", phase: "gate", reasonCodes: ["DENY_LOCAL_HOLD"] });
    fleet.sleep(3_600_001);
    await fleet.hear(...ids);
    assert.deepEqual(await rollouts.run(id), ["pauseInconclusive"]);
    await rollouts.command(id, { kind: "resume", how: "wait" });
    assert.equal(await rollouts.state(id), "active canary");
    fleet.sleep(3_600_000);
    await fleet.hear(...ids);
    assert.deepEqual(await rollouts.run(id), []);
    fleet.sleep(1);
    assert.deepEqual(await rollouts.run(id), ["pauseInconclusive"]);
    await rollouts.command(id, { kind: "abort" });
  });

  it("does not accept an inconclusive gate when something failed", async () => {
    const ids = await cars(40);
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, canaryPerGroup: 20 } });
    await rollouts.run(id);
    await fleet.report(ids[0] ?? "", { status: "failed", reasonCodes: ["APPLY_FAILED"] });
    fleet.sleep(7 * DAY);
    await rollouts.run(id);
    const refused = await rollouts.command(id, { kind: "resume", how: "acceptInconclusive" });
    assert.equal(refused.kind === "refused" && refused.refusal, "something-failed");
    await rollouts.command(id, { kind: "abort" });
  });

  it("rolls a completed wave back on request, canaries excepted, and only where nothing newer was assigned (H13)", async () => {
    const ids = await cars(4);
    const [canary = "", ...others] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0 } });
    await rollouts.run(id);
    await converge(canary);
    await rollouts.run(id);
    await converge(...others);
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "completed watch clean");
    const later = await rollouts.create(good, others.slice(0, 1), { settings: { soakSec: 0, watchSec: 0 } });
    await rollouts.run(later);
    const claimed = await rollouts.command(id, { kind: "rollback", cast: "wave" });
    assert.deepEqual(claimed, { kind: "done" }, "its newest assignment is the later rollout's: not our business");
    assert.deepEqual(await rollouts.holding(ids), {
      [canary]: "2.0.0 canary",
      [others[0] ?? ""]: "1.0.0 canary",
      ...each(others.slice(1), "1.0.0 rollback"),
    });
    assert.deepEqual(await rollouts.command(id, { kind: "rollback", cast: "wave" }), { kind: "already" });
    await converge(...others.slice(1));
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "rolled_back watch clean");
    assert.deepEqual(await rollouts.command(id, { kind: "rollback", cast: null }), { kind: "done" });
    assert.deepEqual(await rollouts.holding([canary]), { [canary]: "1.0.0 rollback" });
    await rollouts.command(later, { kind: "abort" });
  });

  it("asks to end the newer rollout before an older one is rolled back under it (H27)", async () => {
    const ids = await cars(2);
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0 } });
    await rollouts.run(id);
    await converge(ids[0] ?? "");
    await rollouts.run(id);
    await converge(ids[1] ?? "");
    await rollouts.run(id);
    const newer = await rollouts.create(good, ids);
    const refused = await rollouts.command(id, { kind: "rollback", cast: null });
    assert.ok(refused.kind === "refused");
    assert.deepEqual(
      [refused.refusal, refused.conflicts],
      ["claimed-elsewhere", ids.map((vehicleId) => ({ vehicleId, rolloutId: newer }))],
    );
    await rollouts.command(newer, { kind: "abort" });
  });

  it("does not send a vehicle to what is quarantined, withdrawn or missing there (H12)", async () => {
    const shaky = await fleet.addRelease("1.5.0");
    const gone = await fleet.addRelease("1.6.0");
    const [plain, quarantined, withdrawn, bare] = ["ret-a", "ret-b", "ret-c", "ret-d"] as const;
    await fleet.addVehicles([
      { id: plain, runs: good },
      { id: quarantined, runs: shaky },
      { id: withdrawn, runs: gone },
      { id: bare },
    ]);
    // The shaky release had converged there, and failed later; nothing else was committed since.
    const earlier = await rollouts.create(shaky, [quarantined]);
    await fleet.db.updateTable("vehicles").set({ desired_digest: null }).where("id", "=", quarantined).execute();
    await rollouts.command(earlier, { kind: "abort" });
    const trial = await rollouts.create(shaky, [quarantined]);
    await rollouts.run(trial);
    await fleet.report(quarantined, {
      status: "rolled_back",
      reasonCodes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"],
    });
    await rollouts.command(trial, { kind: "abort" });
    const ids = [plain, quarantined, withdrawn, bare];
    await fleet.hear(...ids);
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, canaryPerGroup: 4 } });
    await rollouts.run(id);
    await fleet.withdraw("1.6.0");
    await converge(plain, quarantined);
    await fleet.report(withdrawn, { status: "applying", phase: "switch" });
    await rollouts.command(id, { kind: "rollback", cast: null });
    assert.deepEqual(await rollouts.holding(ids), {
      [plain]: "1.0.0 rollback",
      [quarantined]: "2.0.0 canary",
      [withdrawn]: "2.0.0 canary",
      [bare]: "2.0.0 canary withheld",
    });
    const kept = await fleet.db
      .selectFrom("rollout_members")
      .select(["vehicle_id", "kept_because"])
      .where("rollout_id", "=", id)
      .orderBy("vehicle_id")
      .execute();
    assert.deepEqual(
      kept.map((row) => row.kept_because),
      [null, "quarantined", "withdrawn", "nothing-committed"],
    );
    await converge(plain);
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "rolled_back canary stragglers");
  });

  it("renews stragglers as they were, and whoever missed a halt as withheld (H10)", async () => {
    const ids = await cars(3);
    const [canary = "", late = "", clone = ""] = ids;
    const id = await rollouts.create(next, ids, { settings: { soakSec: 0, watchSec: 0 } });
    await rollouts.run(id);
    await converge(canary);
    await rollouts.run(id);
    const alarm = async (at: string | null) => {
      await fleet.db.updateTable("vehicles").set({ clone_alarm_at: at }).where("id", "=", clone).execute();
    };
    await alarm(fleet.moment().at);
    await rollouts.command(id, { kind: "pause" });
    assert.deepEqual(await rollouts.holding([late, clone]), { [late]: "2.0.0 wave withheld", [clone]: "2.0.0 wave" });
    await alarm(null);
    fleet.sleep(2 * DAY);
    for (const car of [late, clone]) assert.equal(await renewAssignment(fleet.db, car, fleet.moment().at), true);
    assert.deepEqual(await rollouts.holding([late, clone]), each([late, clone], "2.0.0 wave withheld"));
    await rollouts.command(id, { kind: "resume", how: "acceptInconclusive" });
    await rollouts.command(id, { kind: "resume", how: "wait" });
    assert.deepEqual(await rollouts.holding([late, clone]), each([late, clone], "2.0.0 wave"));
    await converge(clone);
    await rollouts.run(id);
    assert.equal(await rollouts.state(id), "completed watch stragglers");
    fleet.sleep(2 * DAY);
    assert.equal(await renewAssignment(fleet.db, clone, fleet.moment().at), false, "it has answered");
    assert.equal(await renewAssignment(fleet.db, late, fleet.moment().at), true);
    assert.deepEqual(await rollouts.holding([late]), { [late]: "2.0.0 wave" });
  });
});

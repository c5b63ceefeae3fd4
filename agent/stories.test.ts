import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { modelRelease } from "./model/release.ts";
import { ModelVehicle } from "./model/vehicle.ts";
import {
  assign,
  crashing,
  drive,
  first,
  lastSays,
  park,
  passes,
  releases,
  runs,
  second,
  third,
  unready,
  vehicleOnFirst,
} from "./model/story.ts";

void describe("whole stories", () => {
  void test("a vehicle that loses its network in the evening converges at night", async () => {
    const vehicle = await vehicleOnFirst();
    drive(vehicle);
    assign(vehicle, second, 2);
    await passes(vehicle, 30);
    lastSays(vehicle, "blocked", "DENY_MOVING");
    vehicle.networkUp = false;
    vehicle.kill();
    park(vehicle);
    await vehicle.settle();
    runs(vehicle, second);
    lastSays(vehicle, "converged");
  });

  void test("download trouble is reported once and retried without end", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.networkUp = false;
    assign(vehicle, second, 2);
    for (let count = 0; count < 200; count++) {
      const step = await vehicle.pass();
      if (step?.kind === "hold") vehicle.advance(step.wakeWhen.afterMs);
    }
    const told = vehicle.reports.filter(({ reasonCodes }) => reasonCodes.includes("ARTIFACT_DOWNLOAD_FAILED"));
    assert.ok(told.length > 1 && told.length < 20, `once, and then at most hourly: ${told.length}`);
    assert.ok(vehicle.clock.wallMs() - Date.parse(told[0]?.at ?? "") > (told.length - 1) * 3_600_000);
    runs(vehicle, first);
    vehicle.networkUp = true;
    await vehicle.settle();
    for (let count = 0; count < 20 && vehicle.state.active?.manifestDigest !== second.manifestDigest; count++) {
      vehicle.advance(300_000);
      await vehicle.settle();
    }
    runs(vehicle, second);
  });

  void test("nodes that die again and again behind a launcher that stays up are a crash loop, and rolled back", async () => {
    const vehicle = await vehicleOnFirst();
    const storm = modelRelease({ version: "6.0.0", behaviour: { nodeDiesEveryMs: 2_000 }, health: { maxRestarts: 3 } });
    vehicle.publish(storm);
    assign(vehicle, storm, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    const evidence = vehicle.lastReport?.evidence.find(({ reasonCode }) => reasonCode === "CRASH_LOOP_DETECTED");
    assert.ok(evidence?.kind === "workload" && evidence.exits > 3 && evidence.problem === "exited");
  });

  void test("a first installation that fails ends in the safe hold, and the next release gets out of it", async () => {
    const vehicle = new ModelVehicle();
    for (const release of releases) vehicle.publish(release);
    assign(vehicle, unready, 1);
    await vehicle.settle();
    runs(vehicle, null);
    lastSays(vehicle, "failed", "READINESS_TIMEOUT", "ROLLBACK_FAILED");
    assert.equal(vehicle.lastReport?.stack, null);
    assign(vehicle, first, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "converged");
  });

  void test("a rollback that fails is named, the last known good is restarted for ever, and it is said when it is up", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, unready, 2);
    vehicle.runtime.behaviours.set(first.manifestDigest, { ...first.behaviour, exitMs: 300 });
    await passes(vehicle, 150, 500);
    lastSays(vehicle, "failed", "READINESS_TIMEOUT", "ROLLBACK_FAILED");
    const starts = vehicle.runtime.history.filter((line) => line.startsWith(`start ${first.manifestDigest}`)).length;
    await passes(vehicle, 600, 1_000);
    const later = vehicle.runtime.history.filter((line) => line.startsWith(`start ${first.manifestDigest}`)).length;
    assert.ok(later > starts + 4 && later < starts + 120, `again and again, not in a storm: ${later - starts}`);
    vehicle.runtime.behaviours.set(first.manifestDigest, first.behaviour);
    await passes(vehicle, 600, 1_000);
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
  });

  void test("the set that is returned to counts as ready when it was looked at after its start, not before the change", async () => {
    const alive = { kind: "tcp", name: "alive", workload: "control", port: 9000, liveness: true } as const;
    const old = modelRelease({
      version: "1.2.0",
      workloads: ["control"],
      health: { probes: [alive], readinessTimeoutSec: 5 },
    });
    const refusing = modelRelease({ version: "2.2.0", workloads: ["control"], behaviour: { startsOk: false } });
    const vehicle = new ModelVehicle();
    for (const release of [old, refusing]) vehicle.publish(release);
    assign(vehicle, old, 1);
    await vehicle.settle();
    await passes(vehicle, 5, 10_000);
    assign(vehicle, refusing, 2);
    for (let count = 0; count < 100 && vehicle.state.trial === null; count++) await vehicle.pass();
    vehicle.runtime.behaviours.set(old.manifestDigest, { ...old.behaviour, readyMs: Number.POSITIVE_INFINITY });
    await passes(vehicle, 50, 200);
    lastSays(vehicle, "failed", "APPLY_FAILED", "ROLLBACK_FAILED");
    vehicle.runtime.behaviours.set(old.manifestDigest, old.behaviour);
    await passes(vehicle, 50, 1_000);
    lastSays(vehicle, "rolled_back", "APPLY_FAILED", "ROLLBACK_APPLIED");
  });

  void test("a fleet rollback to what already runs restarts nothing", async () => {
    const vehicle = await vehicleOnFirst();
    const from = vehicle.runtime.history.length;
    assign(vehicle, first, 7);
    await vehicle.settle();
    assert.equal(vehicle.runtime.history.length, from);
    lastSays(vehicle, "converged");
    assert.equal(vehicle.lastReport?.sequence, 7);
  });

  void test("an operator calls a trial back during its probation: nobody is blamed, and it may be tried again", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    assign(vehicle, first, 3);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "converged");
    assert.deepEqual(vehicle.state.quarantine, []);
    assign(vehicle, second, 4);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("a newer assignment while a trial is on probation: the trial is decided and told first", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    assign(vehicle, third, 3);
    await vehicle.settle();
    runs(vehicle, third);
    const outcomes = vehicle.reports.filter(({ status }) => status === "converged").map(({ sequence }) => sequence);
    assert.deepEqual(outcomes, [1, 2, 3]);
  });

  void test("a crash in probation goes back at a standstill, with the cause", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, crashing, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    const evidence = vehicle.lastReport?.evidence.find((item) => item.kind === "workload");
    assert.ok(evidence?.kind === "workload" && evidence.exits === 1 && evidence.exitCode === 1);
  });

  void test("a higher security epoch raises the floor at its commit and bars older releases, and a local rollback lowers nothing", async () => {
    const vehicle = await vehicleOnFirst();
    const secure = modelRelease({ version: "6.0.0", securityEpoch: 2 });
    vehicle.publish(secure);
    assign(vehicle, secure, 2);
    await vehicle.settle();
    assert.equal(vehicle.state.floors.epoch, 2);
    assign(vehicle, third, 3);
    await vehicle.settle();
    lastSays(vehicle, "failed", "DESIRED_STATE_REJECTED");
    runs(vehicle, secure);
    for (let count = 0; count < 8; count++) {
      const [victim] = vehicle.runtime.running();
      if (victim !== undefined) vehicle.runtime.end(victim.instanceId, 1);
      await passes(vehicle, 10);
    }
    await vehicle.settle();
    runs(vehicle, first);
    assert.equal(vehicle.state.floors.epoch, 2);
  });

  void test("after a storage fault no change begins, the stack is kept up, and nothing is reported that cannot be kept", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.diskFaulted = true;
    const told = vehicle.reports.length;
    assign(vehicle, second, 2);
    await passes(vehicle, 20);
    const [victim] = vehicle.runtime.running();
    vehicle.runtime.end(victim?.instanceId ?? "", 139);
    await passes(vehicle, 20);
    runs(vehicle, first);
    assert.equal(vehicle.runtime.running().length, 2);
    assert.equal(vehicle.reports.length, told);
    assert.equal((await vehicle.agent().health()).volatile, true);
    vehicle.diskFaulted = false;
    vehicle.kill();
    assign(vehicle, second, 2);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("the same status is repeated once an hour and not more often", async () => {
    const vehicle = await vehicleOnFirst();
    const told = vehicle.reports.length;
    for (let minutes = 0; minutes < 180; minutes++) {
      await vehicle.pass();
      vehicle.advance(60_000);
    }
    assert.ok(vehicle.reports.length - told >= 2 && vehicle.reports.length - told <= 3);
    lastSays(vehicle, "converged");
  });

  void test("a download that takes for ever is given up for a repair, and again for another release", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 20 && vehicle.blobs.get(second.manifestDigest) === undefined; count++) {
      await vehicle.pass();
    }
    assert.equal((await vehicle.pass())?.kind, "clean");
    vehicle.networkHangs = true;
    const [victim] = vehicle.runtime.running();
    const downloading = vehicle.pass();
    await untilHung(vehicle, 1);
    vehicle.runtime.end(victim?.instanceId ?? "", 139);
    vehicle.agent().wake();
    assert.equal((await downloading)?.kind, "download");
    await passes(vehicle, 1);
    const [note] = vehicle.state.exits;
    assert.equal(note?.instanceId, victim?.instanceId);
    vehicle.advance(5_000);
    await vehicle.pass();
    assert.equal(vehicle.runtime.running().length, 2);
    const again = vehicle.pass();
    await untilHung(vehicle, 2);
    assign(vehicle, third, 3);
    assert.equal((await again)?.kind, "download");
    vehicle.networkHangs = false;
    await vehicle.settle();
    runs(vehicle, third);
  });

  void test("a poll that brings nothing new does not push aside the offer before it, however long the loop was busy", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    vehicle.agent().offer({ offer: undefined, serverDateMs: undefined });
    await vehicle.settle();
    runs(vehicle, second);
    vehicle.agent().offer({ offer: null, serverDateMs: undefined });
    vehicle.agent().offer({ offer: undefined, serverDateMs: undefined });
    assign(vehicle, third, 3);
    await vehicle.settle();
    runs(vehicle, third);
  });

  void test("an offer that the disk refuses stays offered, and is taken when there is room again", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.refusesRecord = ({ kind }) => kind === "accepted";
    assign(vehicle, second, 2);
    await passes(vehicle, 5);
    assert.equal(vehicle.state.accepted?.assignment.sequence, 1);
    assert.equal(vehicle.agent().hasTakenOffer(), false);
    vehicle.refusesRecord = () => false;
    await vehicle.settle();
    assert.equal(vehicle.agent().hasTakenOffer(), true);
    runs(vehicle, second);
  });

  void test("what was fetched of a release that is not wanted any more makes room for the next one", async () => {
    const vehicle = await vehicleOnFirst();
    drive(vehicle);
    assign(vehicle, second, 2);
    await passes(vehicle, 20);
    const [archive] = second.manifest.workloads.map((workload) => (workload.type === "native" ? workload.archive : ""));
    assert.ok(vehicle.blobs.has(archive ?? ""));
    assign(vehicle, third, 3);
    await passes(vehicle, 20);
    assert.equal(vehicle.blobs.has(archive ?? ""), false);
    assert.equal(vehicle.state.staged?.manifestDigest, third.manifestDigest);
  });

  void test("the loop runs until it is told to end, sleeps while nothing is due, and wakes for an offer", async () => {
    const vehicle = await vehicleOnFirst();
    const stop = new AbortController();
    const running = vehicle.agent().run(stop.signal);
    for (let turns = 0; turns < 50; turns++) await Promise.resolve();
    const idle = vehicle.calls;
    for (let turns = 0; turns < 500; turns++) await Promise.resolve();
    assert.equal(vehicle.calls, idle, "asleep");
    assign(vehicle, first, 8);
    for (let turns = 0; turns < 2_000 && vehicle.lastReport?.sequence !== 8; turns++) await Promise.resolve();
    lastSays(vehicle, "converged");
    stop.abort();
    await running;
    runs(vehicle, first);
  });
});

async function untilHung(vehicle: ModelVehicle, times: number): Promise<void> {
  for (let turns = 0; turns < 1_000 && vehicle.hung < times; turns++) await Promise.resolve();
  assert.equal(vehicle.hung, times);
}

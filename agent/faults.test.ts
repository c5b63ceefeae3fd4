import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { modelRelease } from "./model/release.ts";
import { assign, drive, first, lastSays, park, passes, runs, second, vehicleOnFirst } from "./model/story.ts";
import { calmLine } from "./safety/example-vehicle.ts";
import type { ModelVehicle } from "./model/vehicle.ts";

/** As many workloads and probes as a manifest may have. */
const WORKLOADS_MAX = 64;
const largest = modelRelease({
  version: "9.0.0",
  workloads: Array.from({ length: WORKLOADS_MAX }, (_, index) => `workload-${index}`),
  behaviour: { readyMs: Number.POSITIVE_INFINITY },
  health: { readinessTimeoutSec: 5 },
});

void describe("what goes wrong on the vehicle's own computer", () => {
  void test("H8: the largest stack that a manifest allows never becomes ready, and is left like any other", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.publish(largest);
    assign(vehicle, largest, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
    const kinds = vehicle.lastReport?.evidence.map(({ kind }) => kind);
    assert.ok(kinds?.includes("probe") && kinds.includes("rollback"), "the cause and the return are both told");
  });

  void test("H8: the largest stack that a manifest allows is what a failed change returns to, and does not come up", async () => {
    const vehicle = await vehicleOnFirst();
    const good = { ...largest, behaviour: { ...largest.behaviour, readyMs: 400 } };
    vehicle.publish(good);
    assign(vehicle, good, 2);
    await vehicle.settle();
    runs(vehicle, largest);
    const next = modelRelease({
      version: "9.1.0",
      workloads: largest.manifest.workloads.map(({ name }) => name),
      behaviour: { readyMs: Number.POSITIVE_INFINITY },
      health: { readinessTimeoutSec: 5 },
    });
    vehicle.publish(next);
    assign(vehicle, next, 3);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "starting"; count++) await vehicle.pass();
    vehicle.runtime.behaviours.set(largest.manifestDigest, largest.behaviour);
    await passes(vehicle, 400, 200);
    lastSays(vehicle, "failed", "READINESS_TIMEOUT", "ROLLBACK_FAILED");
  });

  void test("H8: the vehicle cannot be told of a change: it is named, nothing begins, and the tries back off", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.flagRefuses = true;
    assign(vehicle, second, 2);
    const fromMs = vehicle.clock.monotonicMs();
    const steps = await countedSteps(vehicle, 300);
    lastSays(vehicle, "blocked", "INSUFFICIENT_DISK");
    assert.deepEqual(vehicle.lastReport?.evidence.at(0), {
      kind: "storage",
      reasonCode: "INSUFFICIENT_DISK",
      operation: "change-flag",
      problem: "ENOSPC",
    });
    runs(vehicle, first);
    const announced = steps.get("announce") ?? 0;
    const tookMs = vehicle.clock.monotonicMs() - fromMs;
    assert.ok(announced > 1 && tookMs / announced > 20_000, `${announced} announcements in ${tookMs} ms`);
    assert.deepEqual(vehicle.heard.filter(Boolean), [], "who is not told durably is not told of a change at all");
    vehicle.flagRefuses = false;
    vehicle.advance(60_000);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("H8: the vehicle cannot be told of a change, and a stack that fails is left all the same", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    await vehicle.settle();
    runs(vehicle, second);
    vehicle.flagRefuses = true;
    vehicle.runtime.behaviours.set(second.manifestDigest, { ...second.behaviour, exitMs: 20 });
    const steps = await countedSteps(vehicle, 300);
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    assert.ok((steps.get("announce") ?? 0) <= 2, `${steps.get("announce")} announcements`);
    assert.ok(
      vehicle.heard.some((changeId) => changeId !== null),
      "who listens was told",
    );
    assert.equal(vehicle.heard.at(-1), null, "and told that it is over");
  });

  void test("H5: a stack that fails cannot keep itself running by not acknowledging that it will be stopped", async () => {
    const changeInProgress = { acknowledgementRequired: true, acknowledgementTimeoutSec: 10 };
    const vehicle = await vehicleOnFirst({ changeInProgress }, acknowledging);
    assign(vehicle, second, 2);
    await acknowledging(vehicle);
    runs(vehicle, second);
    vehicle.line = calmLine;
    vehicle.runtime.behaviours.set(second.manifestDigest, { ...second.behaviour, exitMs: 20 });
    await countedSteps(vehicle, 200);
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED");
    const gate = vehicle.lastReport?.evidence.find((item) => item.kind === "gate");
    assert.ok(gate?.kind === "gate" && gate.problem === "not-acknowledged");
  });

  void test("one bad sector under a release that only waits does not keep the active one from being repaired", async () => {
    const vehicle = await vehicleOnFirst();
    drive(vehicle);
    assign(vehicle, second, 2);
    await passes(vehicle, 20);
    assert.equal(vehicle.state.staged?.manifestDigest, second.manifestDigest);
    vehicle.kill();
    vehicle.unreadable.add(second.manifestDigest);
    for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 1);
    await passes(vehicle, 20);
    assert.equal(vehicle.runtime.running().length, 2);
    runs(vehicle, first);
    lastSays(vehicle, "blocked", "APPLY_FAILED");
    assert.equal((await vehicle.agent().health()).stack?.version, "1.0.0");
    vehicle.unreadable.clear();
    park(vehicle);
    await vehicle.settle();
    runs(vehicle, second);
  });

  void test("a set in the middle of a change that cannot be read for a moment fails nothing; lost for good, it is left", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "probation"; count++) await vehicle.pass();
    vehicle.kill();
    vehicle.unreadable.add(second.manifestDigest);
    await passes(vehicle, 5);
    assert.equal(vehicle.state.trial?.phase, "probation");
    await passes(vehicle, 60);
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "APPLY_FAILED", "ROLLBACK_APPLIED");
  });

  void test("a look that the disk refuses during a download ends none of the looks after it", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.networkHangs = true;
    assign(vehicle, second, 2);
    let downloading = vehicle.pass();
    while (vehicle.hung === 0) {
      if ((await Promise.race([downloading, turns(200)])) === undefined) break;
      downloading = vehicle.pass();
    }
    vehicle.runtime.looksRefused = 1;
    vehicle.agent().wake();
    await turns(50);
    assert.equal(vehicle.runtime.looksRefused, 0);
    for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 1);
    vehicle.agent().wake();
    await downloading;
    vehicle.networkHangs = false;
    await passes(vehicle, 8);
    assert.equal(vehicle.runtime.running().length, 2);
  });

  void test("H8: in motion the dead workloads of a stack that fails are restarted, though the vehicle cannot be told", async () => {
    const vehicle = await vehicleOnFirst();
    assign(vehicle, second, 2);
    await vehicle.settle();
    vehicle.flagRefuses = true;
    drive(vehicle);
    for (let count = 0; count < 400 && vehicle.state.rollback === null; count++) {
      for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 139);
      await passes(vehicle, 1, 2_000);
    }
    assert.equal(vehicle.state.rollback?.phase, "pending");
    await countedSteps(vehicle, 100);
    assert.equal(vehicle.runtime.running().length, 2);
    lastSays(vehicle, "blocked", "CRASH_LOOP_DETECTED", "DENY_MOVING");
  });
});

/** The vehicle's software acknowledges whatever it is told, until the agent comes to rest. */
async function acknowledging(vehicle: ModelVehicle): Promise<void> {
  for (let count = 0; count < 120; count++) {
    vehicle.line = { ...calmLine, changeAcknowledged: vehicle.told.at(-1) ?? null };
    await passes(vehicle, 1);
  }
}

/** Lets everything that waits for nothing but its turn go on. */
async function turns(count: number): Promise<undefined> {
  for (let done = 0; done < count; done++) await Promise.resolve();
  return undefined;
}

/** Passes that wait as the loop does, and how often each act was made. */
async function countedSteps(vehicle: ModelVehicle, count: number): Promise<ReadonlyMap<string, number>> {
  const seen = new Map<string, number>();
  for (let done = 0; done < count; done++) {
    const step = await vehicle.pass();
    const name = step !== undefined && "act" in step ? step.act.do : (step?.kind ?? "killed");
    seen.set(name, (seen.get(name) ?? 0) + 1);
    vehicle.wait(step?.kind === "hold" || step?.kind === "settled" ? step.wakeWhen.afterMs : 0);
  }
  return seen;
}

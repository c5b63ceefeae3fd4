import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Drift, Probe } from "@muto/spec";
import { modelRelease } from "./model/release.ts";
import { assign, drive, first, lastSays, park, runs, vehicleOnFirst } from "./model/story.ts";
import type { ModelVehicle } from "./model/vehicle.ts";

const ofControl = { workload: "control", liveness: false } as const;
const node: Probe = { ...ofControl, kind: "node", name: "planner-there", node: "/planner" };
const points: Probe = {
  ...ofControl,
  kind: "topic",
  name: "points-flow",
  topic: "/points",
  messageType: "sensor_msgs/msg/PointCloud2",
  windowSec: 3,
  publishersMin: 1,
  hzMin: 10,
};
const ros = modelRelease({
  version: "9.0.0",
  workloads: ["control"],
  health: { readinessTimeoutSec: 20, probes: [node, points] },
});
const watched = modelRelease({
  version: "9.1.0",
  workloads: ["control"],
  health: { readinessTimeoutSec: 20, probes: [{ ...node, liveness: true }] },
});

async function vehicleOnRos(release = ros): Promise<ModelVehicle> {
  const vehicle = await vehicleOnFirst();
  for (const one of [ros, watched]) vehicle.publish(one);
  assign(vehicle, release, 2);
  await vehicle.settle();
  runs(vehicle, release);
  lastSays(vehicle, "converged");
  assert.deepEqual(vehicle.lastReport?.drift, []);
  return vehicle;
}

/** As the loop would: waits for what a step says, or a little less when it is woken. */
async function liveFor(vehicle: ModelVehicle, sec: number): Promise<void> {
  const endMs = vehicle.clock.monotonicMs() + sec * 1000;
  while (vehicle.clock.monotonicMs() < endMs) {
    const step = await vehicle.pass();
    const waits = step?.kind === "hold" || step?.kind === "settled" ? step.wakeWhen.afterMs : 0;
    vehicle.advance(Math.min(waits, Math.max(0, endMs - vehicle.clock.monotonicMs())));
  }
}

/** Until the loop waits for time alone. */
async function atRest(vehicle: ModelVehicle): Promise<void> {
  for (let before = -1; before !== vehicle.calls;) {
    before = vehicle.calls;
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

function driftOf(vehicle: ModelVehicle): readonly string[] {
  return (vehicle.lastReport?.drift ?? []).map(({ drift, workload, probe }) => [drift, workload, probe].join(" "));
}

function only(vehicle: ModelVehicle): Drift {
  const [one, ...others] = vehicle.lastReport?.drift ?? [];
  assert.ok(one !== undefined && others.length === 0);
  return one;
}

void describe("drift of what runs", () => {
  void test("a node leaves on the motorway: told with evidence, nothing is touched, and told when it is back (H3)", async () => {
    const vehicle = await vehicleOnRos();
    drive(vehicle);
    const touched = vehicle.runtime.history.length;
    const leftMs = vehicle.clock.wallMs();
    vehicle.runtime.graph.leave("/planner");
    await liveFor(vehicle, 60);
    lastSays(vehicle, "converged");
    const drift = only(vehicle);
    assert.deepEqual([drift.drift, drift.workload, drift.probe], ["node-left", "control", "planner-there"]);
    assert.deepEqual([drift.required, drift.seen], [true, false]);
    const laterMs = Date.parse(drift.since) - leftMs;
    assert.ok(laterMs >= 0 && laterMs <= 30_000, `seen at the next look: ${laterMs}`);
    const told = vehicle.reports.length;
    await liveFor(vehicle, 600);
    assert.equal(vehicle.reports.length, told, "once");
    vehicle.runtime.graph.rejoin("/planner");
    await liveFor(vehicle, 120);
    assert.deepEqual(driftOf(vehicle), []);
    assert.equal(vehicle.reports.length, told + 1);
    assert.equal(vehicle.runtime.history.length, touched);
  });

  void test("a dip of a few seconds is none, and a flapping topic is one drift", async () => {
    const vehicle = await vehicleOnRos();
    const { topics } = vehicle.runtime.graph;
    const told = vehicle.reports.length;
    topics.set("/points", { hz: 4 });
    await liveFor(vehicle, 5);
    topics.clear();
    await liveFor(vehicle, 100);
    assert.equal(vehicle.reports.length, told);
    for (let round = 0; round < 20; round++) {
      topics.set("/points", { hz: 4 });
      await liveFor(vehicle, 20);
      topics.clear();
      await liveFor(vehicle, 15);
    }
    assert.equal(vehicle.reports.length, told + 1);
    assert.deepEqual(driftOf(vehicle), ["topic-slow control points-flow"]);
    await liveFor(vehicle, 100);
    assert.deepEqual(driftOf(vehicle), []);
  });

  void test("a topic below its rate on trial: readiness times out with the numbers, and the vehicle goes back", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.publish(ros);
    vehicle.runtime.graph.topics.set("/points", { hz: 7.5 });
    assign(vehicle, ros, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
    const [unmet, met] = (vehicle.lastReport?.evidence ?? []).filter((item) => item.kind === "probe");
    assert.ok(unmet?.probe === "points-flow" && !unmet.met && met?.met === true, "what is not met comes first");
    assert.deepEqual([unmet.problem, unmet.required, unmet.seen], ["too-slow", 10, 7.5]);
    assert.ok(typeof unmet.ageMs === "number");
  });

  void test("the report of a commit names every probe with its last observation", async () => {
    const vehicle = await vehicleOnRos();
    const seen = vehicle.lastReport?.probes?.map(({ probe, met, required }) => [probe, met, required]);
    assert.deepEqual(seen, [
      ["planner-there", true, true],
      ["points-flow", true, 10],
    ]);
  });

  void test("the provider of the graph is away: said as unseen, and a liveness probe stops nothing for it (H24)", async () => {
    const vehicle = await vehicleOnRos(watched);
    const touched = vehicle.runtime.history.length;
    vehicle.runtime.graph.isConnected = false;
    await liveFor(vehicle, 300);
    assert.deepEqual(driftOf(vehicle), ["unseen control planner-there"]);
    assert.equal(only(vehicle).seen, null);
    assert.equal(vehicle.runtime.history.length, touched);
    vehicle.runtime.graph.isConnected = true;
    vehicle.runtime.graph.leave("/planner");
    await liveFor(vehicle, 60);
    assert.ok(vehicle.runtime.history.length > touched, "what is seen to hang is restarted at a standstill");
  });

  void test("a restart of the agent neither ends a drift nor tells it twice", async () => {
    const vehicle = await vehicleOnRos();
    vehicle.runtime.graph.leave("/planner");
    await liveFor(vehicle, 60);
    const told = vehicle.reports.length;
    vehicle.kill();
    await liveFor(vehicle, 120);
    assert.equal(vehicle.reports.length, told);
    const health = await vehicle.agent().health();
    assert.deepEqual(
      health.drift?.map(({ drift }) => drift),
      ["node-left"],
    );
    vehicle.runtime.graph.rejoin("/planner");
    await liveFor(vehicle, 120);
    assert.deepEqual(driftOf(vehicle), []);
    assert.equal(vehicle.reports.length, told + 1);
  });

  void test("a change of the graph brings the next look forward, and a graph that chatters keeps nobody busy", async () => {
    const vehicle = await vehicleOnRos();
    await liveFor(vehicle, 60);
    const stop = new AbortController();
    const running = vehicle.agent().run(stop.signal);
    const lookAgeMs = async () => (await vehicle.agent().health()).probes?.[0]?.ageMs;
    await atRest(vehicle);
    vehicle.advance(10_000);
    await atRest(vehicle);
    assert.ok(((await lookAgeMs()) ?? 0) >= 10_000, "while nothing happens nobody looks");
    vehicle.runtime.graph.leave("/planner");
    await atRest(vehicle);
    assert.equal(await lookAgeMs(), 0);
    vehicle.advance(1_000);
    vehicle.runtime.graph.leave("/another");
    await atRest(vehicle);
    const calls = vehicle.calls;
    for (let count = 0; count < 100; count++) vehicle.runtime.graph.leave(`/gone_${count}`);
    await atRest(vehicle);
    assert.equal(vehicle.calls, calls);
    assert.equal(await lookAgeMs(), 1_000);
    stop.abort();
    await running;
  });

  void test("after a boot of the computer a stack that is slow to come up is no drift", async () => {
    const vehicle = await vehicleOnRos();
    vehicle.runtime.behaviours.set(ros.manifestDigest, { ...ros.behaviour, readyMs: 15_000 });
    vehicle.reboot();
    await liveFor(vehicle, 120);
    runs(vehicle, ros);
    assert.deepEqual(driftOf(vehicle), []);
    assert.ok(vehicle.reports.every(({ drift }) => drift === undefined || drift.length === 0));
  });

  void test("an edited file of the committed set: told, mended on the disk, and nothing that runs is restarted", async () => {
    const vehicle = await vehicleOnRos();
    drive(vehicle);
    const touched = vehicle.runtime.history.length;
    const told = vehicle.reports.length;
    vehicle.runtime.damaged.add(ros.manifestDigest);
    await liveFor(vehicle, 24 * 3_600);
    const said = vehicle.reports.slice(told).map(({ drift }) => drift?.map((one) => one.drift).join());
    assert.ok(said.includes("files-changed"), `${said.join(" | ")}`);
    assert.deepEqual(driftOf(vehicle), []);
    assert.equal(vehicle.runtime.history.length, touched);
  });

  void test("something of ours runs beside the set in motion: told, and stopped at the next standstill (H3)", async () => {
    const vehicle = await vehicleOnRos();
    drive(vehicle);
    vehicle.runtime.startForeign(first);
    await liveFor(vehicle, 60);
    assert.deepEqual(driftOf(vehicle), ["foreign-instance control "]);
    assert.equal(only(vehicle).set, first.manifestDigest);
    assert.equal(vehicle.runtime.runningSets().length, 2);
    park(vehicle);
    await liveFor(vehicle, 60);
    runs(vehicle, ros);
    assert.deepEqual(driftOf(vehicle), []);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { modelAssignment, modelRelease, type ModelRelease } from "./model/release.ts";
import { ModelVehicle } from "./model/vehicle.ts";
import { modelOffer } from "./model/verifier.ts";
import { watchInvariants } from "./model/invariants.ts";
import { calmLine } from "./safety/example-vehicle.ts";

const good = [modelRelease({ version: "1.0.0" }), modelRelease({ version: "1.1.0", oneshots: ["calibrate"] })];
/** Ready, and watched, by what its ROS graph shows. */
const ros = modelRelease({
  version: "1.2.0-ros",
  workloads: ["control"],
  health: {
    probes: [
      { kind: "node", name: "planner-there", workload: "control", node: "/planner", liveness: true },
      {
        kind: "topic",
        name: "points-flow",
        workload: "control",
        topic: "/points",
        messageType: "sensor_msgs/msg/PointCloud2",
        windowSec: 3,
        publishersMin: 1,
        hzMin: 10,
        liveness: false,
      },
    ],
  },
});
const bad = [
  modelRelease({ version: "2.0.0-crash", behaviour: { exitMs: 1_500 } }),
  modelRelease({ version: "2.0.1-late-crash", behaviour: { exitMs: 40_000 }, health: { maxRestarts: 0 } }),
  modelRelease({ version: "2.0.2-never-ready", behaviour: { readyMs: Number.POSITIVE_INFINITY } }),
  modelRelease({ version: "2.0.3-refuses", behaviour: { startsOk: false } }),
  modelRelease({ version: "2.0.5-respawn-storm", behaviour: { nodeDiesEveryMs: 300 } }),
  modelRelease({ version: "2.0.4-unfit", compatibility: { vehicleModels: ["other"] } }),
];
const releases: readonly ModelRelease[] = [...good, ...bad, ros];

type Action =
  | {
      readonly kind: "assign";
      readonly release: number;
      readonly retry: boolean;
      readonly start: "allowed" | "withheld";
    }
  | { readonly kind: "passes"; readonly count: number; readonly stepMs: number }
  | { readonly kind: "kill-after"; readonly calls: number }
  | { readonly kind: "reboot" }
  | { readonly kind: "signals"; readonly say: "calm" | "driving" | "autonomous" | "nothing" }
  | { readonly kind: "network"; readonly up: boolean }
  | { readonly kind: "crash"; readonly which: number }
  | { readonly kind: "graph"; readonly shows: "all" | "no-node" | "slow-topic" | "nothing" }
  | { readonly kind: "disk"; readonly freeMb: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("assign" as const),
      release: fc.nat(releases.length - 1),
      retry: fc.boolean(),
      start: fc.constantFrom("allowed" as const, "allowed" as const, "withheld" as const),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("passes" as const),
      count: fc.integer({ min: 1, max: 60 }),
      stepMs: fc.constantFrom(0, 200, 1_000, 20_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("kill-after" as const), calls: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reboot" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("signals" as const),
      say: fc.constantFrom(
        "calm" as const,
        "calm" as const,
        "driving" as const,
        "autonomous" as const,
        "nothing" as const,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("network" as const), up: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("crash" as const), which: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("graph" as const),
      shows: fc.constantFrom("all" as const, "no-node" as const, "slow-topic" as const, "nothing" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("disk" as const), freeMb: fc.constantFrom(10, 100_000) }) },
);

/** What chance seldom brings about: the computer restarts while a release is tried that never becomes ready. */
const rebootedOnTrial: Action[] = [
  { kind: "assign", release: 4, retry: false, start: "allowed" },
  { kind: "passes", count: 40, stepMs: 200 },
  { kind: "reboot" },
  { kind: "passes", count: 10, stepMs: 200 },
];

/** And a node that leaves the graph of a release that was committed, and drives. */
const driftedInMotion: Action[] = [
  { kind: "assign", release: releases.indexOf(ros), retry: false, start: "allowed" },
  { kind: "passes", count: 60, stepMs: 1_000 },
  { kind: "passes", count: 60, stepMs: 1_000 },
  { kind: "signals", say: "driving" },
  { kind: "graph", shows: "no-node" },
  { kind: "passes", count: 60, stepMs: 1_000 },
  { kind: "kill-after", calls: 0 },
  { kind: "passes", count: 60, stepMs: 1_000 },
];

void test("from any reachable state, with kills between any two calls: one set at a time, gates before every stop, and rest when faults end", async () => {
  const reached = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 25 }), async (actions) => {
      const vehicle = new ModelVehicle();
      for (const release of releases) vehicle.publish(release);
      const invariants = watchInvariants(vehicle);
      let sequence = 0;
      let newest: ModelRelease | undefined;
      for (const one of actions) {
        switch (one.kind) {
          case "assign": {
            newest = releases[one.release];
            if (newest === undefined) break;
            sequence += 1;
            const { retry, start } = one;
            vehicle.offer(modelOffer(modelAssignment(newest, sequence, { retry, start })));
            break;
          }
          case "passes":
            for (let count = 0; count < one.count; count++) {
              await vehicle.pass();
              vehicle.advance(one.stepMs);
              invariants.check();
            }
            break;
          case "kill-after":
            vehicle.killAfterCalls = one.calls;
            break;
          case "reboot":
            vehicle.reboot();
            invariants.rebooted();
            break;
          case "signals":
            vehicle.line = lineFor(one.say);
            if (one.say === "calm") vehicle.hearFor(130);
            break;
          case "network":
            vehicle.networkUp = one.up;
            break;
          case "crash": {
            const victim = vehicle.runtime.running()[one.which];
            if (victim !== undefined) vehicle.runtime.end(victim.instanceId, 139);
            break;
          }
          case "graph":
            showGraph(vehicle, one.shows);
            break;
          case "disk":
            vehicle.freeMb = one.freeMb;
            break;
        }
        invariants.check();
      }
      await heal(vehicle, sequence, newest);
      invariants.check();
      if (await driftsAndRecovers(vehicle)) reached.add("drift");
      assertAtRest(vehicle, newest);
      for (const { kind } of vehicle.journal) reached.add(kind);
    }),
    { numRuns: 150, endOnFailure: false, examples: [[rebootedOnTrial], [driftedInMotion]] },
  );
  // A search that never came anywhere would find nothing either.
  for (const kind of REACHED) assert.ok(reached.has(kind), `no run reached ${kind}`);
});

function showGraph({ runtime: { graph } }: ModelVehicle, shows: Extract<Action, { kind: "graph" }>["shows"]): void {
  graph.isConnected = shows !== "nothing";
  graph.topics.clear();
  if (shows === "slow-topic") graph.topics.set("/points", { hz: 4 });
  if (shows === "no-node") graph.leave("/planner");
  else graph.rejoin("/planner");
}

/** Once the graph is well for a while, nothing of what was told as drift stands; whether any was told. */
async function driftsAndRecovers(vehicle: ModelVehicle): Promise<boolean> {
  const untilMs = vehicle.clock.monotonicMs() + 300_000;
  while (vehicle.clock.monotonicMs() < untilMs) {
    const step = await vehicle.pass();
    vehicle.wait(step?.kind === "hold" || step?.kind === "settled" ? step.wakeWhen.afterMs : 0);
  }
  const told = vehicle.reports.filter(({ drift }) => drift !== undefined);
  const last = told.at(-1);
  if (last?.stack?.manifestDigest === vehicle.state.active?.manifestDigest) assert.deepEqual(last?.drift ?? [], []);
  return told.some(({ drift }) => drift !== undefined && drift.length > 0);
}

const REACHED = [
  "drift",
  "staged",
  "trial-begun",
  "trial-rebooted",
  "committed",
  "exited",
  "rollback-begun",
  "rollback-ended",
];

async function heal(vehicle: ModelVehicle, sequence: number, newest: ModelRelease | undefined): Promise<void> {
  vehicle.killAfterCalls = undefined;
  vehicle.networkUp = true;
  showGraph(vehicle, "all");
  vehicle.freeMb = 100_000;
  vehicle.line = calmLine;
  vehicle.hearFor(130);
  if (newest !== undefined) vehicle.offer(modelOffer(modelAssignment(newest, sequence + 1)));
  for (let count = 0; count < 400; count++) {
    const step = await vehicle.pass();
    if (step?.kind === "settled") break;
    const waitMs = step?.kind === "hold" ? step.wakeWhen.afterMs : 0;
    vehicle.wait(waitMs);
  }
  await vehicle.settle();
}

/** What is wanted runs, or what was committed before it; or nothing ever could. */
function assertAtRest(vehicle: ModelVehicle, newest: ModelRelease | undefined): void {
  const { state, runtime } = vehicle;
  assert.equal(state.trial, null);
  assert.equal(state.rollback, null);
  const running = runtime.runningSets();
  if (state.active === null) assert.deepEqual(running, []);
  else assert.deepEqual(running, [state.active.manifestDigest]);
  if (newest === undefined) return;
  const isActive = state.active?.manifestDigest === newest.manifestDigest;
  const report = vehicle.lastReport;
  assert.equal(report?.sequence !== undefined, true);
  if (good.includes(newest) && !state.quarantine.some((entry) => entry.manifestDigest === newest.manifestDigest)) {
    assert.ok(isActive, "a good release is reached");
    assert.equal(report?.status, "converged");
  } else if (!isActive) {
    assert.ok(report?.status === "failed" || report?.status === "rolled_back", report?.status);
    assert.ok((report?.reasonCodes.length ?? 0) > 0, "no silent failure");
  }
}

function lineFor(say: "calm" | "driving" | "autonomous" | "nothing"): ModelVehicle["line"] {
  switch (say) {
    case "calm":
      return calmLine;
    case "driving":
      return { ...calmLine, speedMps: 16.7 };
    case "autonomous":
      return { ...calmLine, mode: "autonomous" };
    case "nothing":
      return null;
  }
}

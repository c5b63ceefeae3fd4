import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SafetySnapshot } from "@muto/spec";
import { planRollout, replaceCanaries } from "./plan.ts";
import type { Candidate, PlanRequest } from "./plan.ts";
import { isInside, refusingGates } from "./refusing.ts";

const NEW = `sha256:${"a".repeat(64)}`;
const OLD = `sha256:${"b".repeat(64)}`;
const NOW = Date.UTC(2026, 10, 23, 1, 30);

const parked: SafetySnapshot = {
  moving: { value: false, ageMs: 100 },
  autonomousMode: { value: false, ageMs: 100 },
  batteryPct: { value: 80, ageMs: 100 },
  insideWindow: { value: true, ageMs: 100 },
};

function vehicle(vehicleId: string, more: Partial<Candidate> = {}): Candidate {
  return {
    vehicleId,
    region: "eu",
    model: "v3",
    facts: { os: "ubuntu-22.04", rosDistro: "humble", timezone: "Europe/Berlin", diskFreeMb: 50_000 },
    online: true,
    convergence: "converged",
    rollbackReady: true,
    drifting: false,
    safety: parked,
    safetyAt: "2026-11-23T01:29:00.000Z",
    committedDigest: OLD,
    desiredDigest: OLD,
    excluded: false,
    rolloutId: null,
    ...more,
  };
}

const request: PlanRequest = {
  digest: NEW,
  compatibility: { vehicleModels: ["v3"], os: ["ubuntu-22.04"], rosDistro: ["humble"] },
  diskMbMin: 8000,
  policy: { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 },
  settings: { canaryPerGroup: 1, wavePercent: 100 },
  supersedes: null,
  nowMs: NOW,
};

const stages = (candidates: readonly Candidate[], more: Partial<PlanRequest> = {}) =>
  Object.fromEntries(
    planRollout({ ...request, ...more }, candidates).members.map(({ vehicleId, stage }) => [vehicleId, stage]),
  );

test("one canary per region and model; a missing tag is its own group", () => {
  const plan = planRollout({ ...request, compatibility: { vehicleModels: [], os: [], rosDistro: [] } }, [
    vehicle("eu-2"),
    vehicle("eu-1"),
    vehicle("us-1", { region: "us" }),
    vehicle("v4-1", { model: "v4" }),
    vehicle("bare-2", { region: null, model: null }),
    vehicle("bare-1", { region: null, model: null }),
  ]);
  assert.deepEqual(
    plan.groups.map(({ region, model, members, canaries }) => [region, model, members, ...canaries]),
    [
      ["eu", "v3", 2, "eu-1"],
      ["eu", "v4", 1, "v4-1"],
      ["unknown", "unknown", 2, "bare-1"],
      ["us", "v3", 1, "us-1"],
    ],
  );
});

const preferences: readonly (readonly [name: string, worse: Partial<Candidate>])[] = [
  ["one within reach", { online: false }],
  ["one that is converged", { convergence: "blocked" }],
  ["one whose stack keeps what is expected", { drifting: true }],
  ["one that could go back", { rollbackReady: null }],
  ["one that does not run the release already", { committedDigest: NEW }],
];
for (const [name, worse] of preferences) {
  test(`the canary is ${name}`, () => {
    assert.deepEqual(stages([vehicle("a", worse), vehicle("b")]), { a: "wave", b: "canary" });
  });
}

test("out of reach weighs more than anything else, and ties go by id", () => {
  assert.deepEqual(
    stages([vehicle("a", { online: false }), vehicle("b", { convergence: "failed", rollbackReady: null })]),
    {
      a: "wave",
      b: "canary",
    },
  );
  assert.deepEqual(stages([vehicle("b"), vehicle("c"), vehicle("a")]), { a: "canary", b: "wave", c: "wave" });
});

test("the wave is a share of what remains, rounded up, in every group", () => {
  const fleet = ["a", "b", "c", "d", "e"].map((id) => vehicle(id));
  assert.deepEqual(stages(fleet, { settings: { canaryPerGroup: 1, wavePercent: 50 } }), {
    a: "canary",
    b: "wave",
    c: "wave",
    d: null,
    e: null,
  });
  assert.deepEqual(stages([vehicle("a"), vehicle("b")], { settings: { canaryPerGroup: 1, wavePercent: 1 } }), {
    a: "canary",
    b: "wave",
  });
});

test("vehicles that the release does not list are named with the reason, and unknown facts are the vehicle's to judge (H17)", () => {
  const plan = planRollout(request, [
    vehicle("model", { model: "v4" }),
    vehicle("os", { facts: { os: "ubuntu-20.04", rosDistro: "humble" } }),
    vehicle("ros", { facts: { os: "ubuntu-22.04", rosDistro: "iron" } }),
    vehicle("unknown", { model: null, facts: {} }),
  ]);
  assert.deepEqual(plan.incompatible, [
    { vehicleId: "model", reasonCode: "INCOMPATIBLE_MODEL" },
    { vehicleId: "os", reasonCode: "INCOMPATIBLE_OS" },
    { vehicleId: "ros", reasonCode: "INCOMPATIBLE_ROS" },
  ]);
  assert.deepEqual(
    plan.members.map(({ vehicleId }) => vehicleId),
    ["unknown"],
  );
});

test("who has it already, and who is excluded, is left alone", () => {
  const plan = planRollout(request, [
    vehicle("done", { committedDigest: NEW, desiredDigest: NEW }),
    vehicle("going-elsewhere", { committedDigest: NEW, desiredDigest: OLD }),
    vehicle("kept-out", { excluded: true }),
  ]);
  assert.deepEqual(plan.alreadyConverged, ["done"]);
  assert.deepEqual(plan.excluded, ["kept-out"]);
  assert.deepEqual(
    plan.members.map(({ vehicleId }) => vehicleId),
    ["going-elsewhere"],
  );
  assert.deepEqual(plan.withoutReturn, ["going-elsewhere"]);
});

test("a vehicle with nothing committed has nowhere to return to", () => {
  assert.deepEqual(planRollout(request, [vehicle("new", { committedDigest: null })]).withoutReturn, ["new"]);
});

test("members of another unfinished rollout are conflicts, unless it is superseded (H27)", () => {
  const fleet = [vehicle("a", { rolloutId: "ro_1" }), vehicle("b"), vehicle("c", { rolloutId: "ro_2" })];
  assert.deepEqual(planRollout(request, fleet).conflicts, [
    { vehicleId: "a", rolloutId: "ro_1" },
    { vehicleId: "c", rolloutId: "ro_2" },
  ]);
  assert.deepEqual(planRollout({ ...request, supersedes: "ro_1" }, fleet).conflicts, [
    { vehicleId: "c", rolloutId: "ro_2" },
  ]);
  const outside = { ...request, settings: { canaryPerGroup: 1, wavePercent: 1 } };
  assert.deepEqual(planRollout(outside, [vehicle("a"), vehicle("b"), ...fleet.slice(2)]).conflicts, []);
});

test("gates that would refuse now, by the last snapshot", () => {
  const at = (more: Partial<SafetySnapshot>, facts: Candidate["facts"] = {}) =>
    refusingGates(request, { safety: { ...parked, ...more }, facts });
  assert.deepEqual(at({}), []);
  assert.deepEqual(at({ moving: { value: true, ageMs: 1 } }), ["DENY_MOVING"]);
  assert.deepEqual(at({ moving: { value: null, ageMs: null } }), ["DENY_MOVING"]);
  assert.deepEqual(at({ autonomousMode: { value: true, ageMs: 1 } }), ["DENY_AUTONOMOUS_MODE"]);
  assert.deepEqual(at({ batteryPct: { value: 34, ageMs: 1 } }), ["DENY_LOW_BATTERY"]);
  assert.deepEqual(at({ batteryPct: { value: null, ageMs: null } }), []);
  assert.deepEqual(at({}, { diskFreeMb: 7999 }), ["INSUFFICIENT_DISK"]);
  assert.deepEqual(refusingGates(request, { safety: null, facts: {} }), ["DENY_MOVING", "DENY_AUTONOMOUS_MODE"]);
  const lax = { requireVehicleStationary: false, denyIfAutonomousMode: false, requireBatteryPctMin: 0 };
  assert.deepEqual(refusingGates({ ...request, policy: lax }, { safety: null, facts: {} }), []);
  const night = { ...request.policy, applyWindow: { startLocal: "02:00", endLocal: "05:00" } };
  const zone = (timezone: string) =>
    refusingGates({ ...request, policy: night }, { safety: parked, facts: { timezone } });
  assert.deepEqual(zone("Europe/Berlin"), []);
  assert.deepEqual(zone("Europe/London"), ["DENY_OUTSIDE_WINDOW"]);
  assert.deepEqual(zone("Nowhere/Land"), ["DENY_OUTSIDE_WINDOW"]);
});

test("a window may cross midnight, contains its start and not its end", () => {
  const utc = (hour: number, minute: number) => Date.UTC(2026, 10, 23, hour, minute);
  const night = { startLocal: "22:00", endLocal: "04:00" };
  for (const [hour, minute, inside] of [
    [21, 59, false],
    [22, 0, true],
    [0, 0, true],
    [3, 59, true],
    [4, 0, false],
  ] as const) {
    assert.equal(isInside(night, "UTC", utc(hour, minute)), inside, `${hour}:${minute}`);
  }
});

test("canaries are replaced by the fittest of their own group, while there are any", () => {
  const canary = (vehicleId: string, region: string) => ({ vehicleId, region, model: "v3" });
  const replaced = replaceCanaries(
    [canary("eu-1", "eu"), canary("eu-2", "eu"), canary("us-1", "us"), canary("eu-3", "eu")],
    [vehicle("eu-8", { online: false }), vehicle("eu-9"), vehicle("apac-1", { region: "apac" })],
  );
  assert.deepEqual(
    [...replaced],
    [
      ["eu-1", "eu-9"],
      ["eu-2", "eu-8"],
    ],
  );
});

test("planning is repeatable, and every vehicle is accounted for once", () => {
  const anyVehicle = fc.record({
    region: fc.constantFrom(null, "eu", "us"),
    model: fc.constantFrom(null, "v3", "v4"),
    online: fc.boolean(),
    excluded: fc.boolean(),
    convergence: fc.constantFrom("converged" as const, "pending" as const),
    committedDigest: fc.constantFrom(null, OLD, NEW),
    desiredDigest: fc.constantFrom(null, OLD, NEW),
  });
  fc.assert(
    fc.property(
      fc.array(anyVehicle, { maxLength: 30 }),
      fc.nat(),
      fc.integer({ min: 1, max: 3 }),
      (fleet, turn, per) => {
        const candidates = fleet.map((each, index) => vehicle(`v-${index}`, each));
        const settings = { canaryPerGroup: per, wavePercent: 60 };
        const plan = planRollout({ ...request, settings }, candidates);
        const cut = candidates.length === 0 ? 0 : turn % candidates.length;
        const turned = [...candidates.slice(cut), ...candidates.slice(0, cut)];
        assert.deepEqual(planRollout({ ...request, settings }, turned), plan);
        const named = [
          ...plan.members.map(({ vehicleId }) => vehicleId),
          ...plan.incompatible.map(({ vehicleId }) => vehicleId),
          ...plan.alreadyConverged,
          ...plan.excluded,
        ];
        assert.deepEqual(named.toSorted(), candidates.map(({ vehicleId }) => vehicleId).toSorted());
        for (const group of plan.groups) {
          assert.ok(group.canaries.length >= 1, "every group has a canary");
          assert.ok(group.canaries.length <= per);
        }
      },
    ),
    { seed: 7 },
  );
});

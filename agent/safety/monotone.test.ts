import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentConfig, Policy, SignalLine, SignalsConfig } from "@muto/spec";
import fc from "fast-check";
import type { GateContext } from "./context.ts";
import { emptyPolicy, exampleConfig, exampleContext, exampleNow, heardFor, samplesOf } from "./example-vehicle.ts";
import { evaluateGates } from "./gates.ts";
import type { SignalSamples } from "./signals.ts";

/** Any situation, mostly near the edge between open and closed. */
const line: fc.Arbitrary<SignalLine> = fc.record({
  kind: fc.constant("muto.signals/v1" as const),
  speedMps: fc.constantFrom(0, 0, 0, 0.09, 0.1, -2, null),
  yawRateRadps: fc.constantFrom(0, 0, 0, 0.05, null),
  parked: fc.constantFrom(true, true, true, false, null),
  mode: fc.constantFrom("manual", "manual", "stopped", "autonomous", null),
  batteryPct: fc.constantFrom(100, 80, 36, 34, 0, null),
  charging: fc.constantFrom(true, false, null),
  hold: fc.constantFrom({ held: false }, { held: false }, { held: true }, null),
});

const source = fc.constantFrom("none" as const, [{ provider: "a", optional: false, freshForSec: 2 }]);
const present = fc.constant([{ provider: "a", optional: false, freshForSec: 2 }]);
const usuallyPresent = fc.oneof({ arbitrary: present, weight: 3 }, { arbitrary: source, weight: 1 });

const signals: fc.Arbitrary<SignalsConfig> = fc.record({
  speed: usuallyPresent,
  yawRate: usuallyPresent,
  mode: usuallyPresent,
  battery: usuallyPresent,
  parked: usuallyPresent,
  hold: usuallyPresent,
  providers: fc.constant([]),
});

const policy: fc.Arbitrary<Policy> = fc.record(
  {
    requireVehicleStationary: fc.boolean(),
    denyIfAutonomousMode: fc.boolean(),
    requireBatteryPctMin: fc.constantFrom(0, 35, 90),
    applyWindow: fc.constantFrom(
      { startLocal: "02:00", endLocal: "05:00" },
      { startLocal: "02:00", endLocal: "05:00" },
      { startLocal: "12:00", endLocal: "13:00" },
    ),
  },
  { requiredKeys: ["requireVehicleStationary", "denyIfAutonomousMode", "requireBatteryPctMin"] },
);

const technician: fc.Arbitrary<SignalSamples["technician"]> = fc.record({
  hold: fc.constantFrom({ kind: "none" as const }, { kind: "none" as const }, { kind: "unreadable" as const }),
  standing: fc.constantFrom(null, {
    madeMs: exampleNow.monotonicMs - 200_000,
    untilMs: exampleNow.monotonicMs + 1,
    untilWallMs: exampleNow.wallMs + 1,
  }),
});

const situation: fc.Arbitrary<GateContext> = fc
  .record({
    said: line,
    heard: fc.record({ forSec: fc.constantFrom(121, 121, 121, 30), endedSec: fc.constantFrom(0, 0, 0, 3) }),
    signals,
    requireStationary: fc.boolean(),
    denyAutonomous: fc.boolean(),
    batteryPctMin: fc.constantFrom(0, 0, 20),
    requireParked: fc.boolean(),
    policy: fc.option(policy, { nil: undefined }),
    technician,
    purpose: fc.constantFrom("switch" as const, "stop" as const),
    trusted: fc.boolean(),
    freeMb: fc.constantFrom(5000, 5000, 100, null),
  })
  .map(({ said, heard, policy: asked, technician: word, purpose, trusted, freeMb, ...floor }) => {
    const base = exampleConfig();
    const config: AgentConfig = {
      ...base,
      signals: floor.signals,
      safety: {
        ...base.safety,
        requireStationary: floor.requireStationary,
        denyAutonomous: floor.denyAutonomous,
        batteryPctMin: floor.batteryPctMin,
        requireParked: floor.requireParked,
      },
    };
    const samples = samplesOf({ a: heardFor(config, "a", said, heard) }, word);
    const clock = { ...exampleNow, trusted };
    return { purpose, samples, config, policy: asked, clock, disk: { freeMb, neededMb: 10 } };
  });

/** Everything that makes the vehicle ask for more, know less, or be told no. */
const restrictions: Readonly<Record<string, (context: GateContext) => GateContext>> = {
  "the policy asks for standing": (c) => withPolicy(c, { requireVehicleStationary: true }),
  "the policy denies autonomous mode": (c) => withPolicy(c, { denyIfAutonomousMode: true }),
  "the policy asks for more battery": (c) =>
    withPolicy(c, { requireBatteryPctMin: Math.min(100, (c.policy?.requireBatteryPctMin ?? 0) + 30) }),
  "the policy has a window": (c) =>
    withPolicy(c, { applyWindow: c.policy?.applyWindow ?? { startLocal: "12:00", endLocal: "13:00" } }),
  "the floor asks for standing": (c) => withSafety(c, { requireStationary: true }),
  "the floor denies autonomous mode": (c) => withSafety(c, { denyAutonomous: true }),
  "the floor asks for more battery": (c) => withSafety(c, { batteryPctMin: c.config.safety.batteryPctMin + 30 }),
  "the floor asks for the parking brake": (c) => withSafety(c, { requireParked: true }),
  "the floor asks for a longer standstill": (c) => withSafety(c, { standstillSec: 600 }),
  "the floor asks for a slower vehicle": (c) => withSafety(c, { speedMpsMax: 0.01, yawRateRadpsMax: 0.01 }),
  "the floor keeps more disk": (c) => withSafety(c, { diskReserveMb: 4_995 }),
  "the vehicle must be parked": (c) => ({
    ...c,
    config: { ...c.config, signals: { ...c.config.signals, ...(sourced(c, "parked") ? {} : { parked: unheard }) } },
  }),
  "another provider of every signal has to be heard": (c) => ({
    ...c,
    config: { ...c.config, signals: withUnheard(c.config.signals) },
  }),
  "a technician holds": (c) => withTechnician(c, { hold: { kind: "held", who: "anna", why: "other" } }),
  "nobody confirms that it stands": (c) => withTechnician(c, { standing: null }),
  "the clock is not trusted": (c) => ({ ...c, clock: { ...c.clock, trusted: false } }),
  "the disk does not answer": (c) => ({ ...c, disk: { ...c.disk, freeMb: null } }),
  "all signals fall silent before a switch": (c) => ({ ...c, purpose: "switch", samples: silence(c) }),
  "it is an ordinary switch": (c) => ({ ...c, purpose: "switch" }),
};

const unheard = [{ provider: "unheard", optional: false, freshForSec: 2 }] as const;

function sourced({ config }: GateContext, signal: "parked"): boolean {
  return Array.isArray(config.signals[signal]);
}

function withPolicy(context: GateContext, change: Partial<Policy>): GateContext {
  return { ...context, policy: { ...(context.policy ?? emptyPolicy), ...change } };
}

function withSafety(context: GateContext, change: Partial<AgentConfig["safety"]>): GateContext {
  return { ...context, config: { ...context.config, safety: { ...context.config.safety, ...change } } };
}

function withTechnician(context: GateContext, change: Partial<SignalSamples["technician"]>): GateContext {
  return { ...context, samples: { ...context.samples, technician: { ...context.samples.technician, ...change } } };
}

/** A confirmation is there for silence, so silence alone is no restriction while one stands. */
function silence({ samples }: GateContext): SignalSamples {
  return { providers: new Map(), technician: { ...samples.technician, standing: null } };
}

function withUnheard(before: SignalsConfig): SignalsConfig {
  const more = (given: SignalsConfig["speed"]) => (given === "none" ? given : [...given, ...unheard]);
  return {
    ...before,
    speed: more(before.speed),
    mode: more(before.mode),
    battery: more(before.battery),
  };
}

function codesOf(context: GateContext): readonly string[] {
  const verdict = evaluateGates(context);
  return verdict.open ? [] : verdict.refusals.map(({ reasonCode }) => reasonCode);
}

for (const [name, restrict] of Object.entries(restrictions)) {
  test(`adding a restriction never opens a gate: ${name}`, () => {
    let opened = 0;
    fc.assert(
      fc.property(situation, (context) => {
        const before = new Set(codesOf(context));
        const after = new Set(codesOf(restrict(context)));
        assert.deepEqual(
          [...before].filter((code) => !after.has(code)),
          [],
        );
        opened += before.size === 0 ? 1 : 0;
      }),
      { seed: 7, numRuns: 200 },
    );
    assert.ok(opened > 0, "some situations were open before");
  });
}

test("the example vehicle's gates are open, so that the restrictions have something to close", () => {
  assert.deepEqual(codesOf(exampleContext()), []);
});

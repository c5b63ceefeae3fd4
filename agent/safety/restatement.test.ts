import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignalLine } from "@muto/spec";
import type { GateContext } from "./context.ts";
import { emptyPolicy, exampleConfig, exampleNow, heardFor, samplesOf, strictPolicy } from "./example-vehicle.ts";
import { evaluateGates } from "./gates.ts";
import type { ProviderSamples, TechnicianHold } from "./signals.ts";

/**
 * Every combination of what the signals may say and how they may fail, against a restatement of the gates that a person can
 * check line by line. Each signal has a provider of its own, so that each can fail alone. The window's own times are in
 * window.test.ts; here it is closed by the clock or not asked for, because that is what combines.
 */
const config = exampleConfig({
  signals: {
    speed: [{ provider: "speed" }],
    yawRate: "none",
    mode: [{ provider: "mode" }],
    battery: [{ provider: "battery" }],
    parked: [{ provider: "parked" }],
    hold: [{ provider: "hold" }],
  },
});

type State = "fresh" | "stale" | "missing" | "malformed";

interface Said {
  readonly says: string;
  readonly state: State;
  readonly samples: ProviderSamples | undefined;
}

function saying(provider: string, lines: Readonly<Record<string, Partial<SignalLine>>>): readonly Said[] {
  return Object.entries(lines).flatMap(([says, line]) => {
    const whole: SignalLine = { kind: "muto.signals/v1", ...line };
    return [
      { says, state: "fresh" as const, samples: heardFor(config, provider, whole) },
      { says, state: "stale" as const, samples: heardFor(config, provider, whole, { endedSec: 3 }) },
    ];
  });
}

function failing(provider: string): readonly Said[] {
  return [
    { says: "", state: "missing", samples: undefined },
    { says: "", state: "malformed", samples: heardFor(config, provider, "malformed") },
  ];
}

const speeds: readonly Said[] = [
  ...saying("speed", { standing: { speedMps: 0.05 }, moving: { speedMps: 5 } }),
  {
    says: "just-stopped",
    state: "fresh",
    samples: heardFor(config, "speed", { kind: "muto.signals/v1", speedMps: 0 }, { forSec: 60 }),
  },
  ...failing("speed"),
];
const parkeds = [...saying("parked", { yes: { parked: true }, no: { parked: false } }), ...failing("parked")];
const modes = [
  ...saying("mode", {
    manual: { mode: "manual" },
    autonomous: { mode: "autonomous" },
    transition: { mode: "transition" },
    risk: { mode: "minimal-risk-manoeuvre" },
  }),
  ...failing("mode"),
];
const batteries = [
  ...saying("battery", {
    full: { batteryPct: 80 },
    low: { batteryPct: 10, charging: false },
    charging: { batteryPct: 10, charging: true },
  }),
  ...failing("battery"),
];
const holds = [
  ...saying("hold", { free: { hold: { held: false } }, held: { hold: { held: true } } }),
  ...failing("hold"),
];
const technicianHolds: readonly TechnicianHold[] = [
  { kind: "none" },
  { kind: "held", who: "anna", why: "maintenance" },
];

interface Combination {
  readonly speed: Said;
  readonly parked: Said;
  readonly mode: Said;
  readonly battery: Said;
  readonly hold: Said;
  readonly technician: TechnicianHold;
  readonly trusted: boolean;
}

function* combinations(): Generator<Combination> {
  for (const speed of speeds)
    for (const parked of parkeds)
      for (const mode of modes)
        for (const battery of batteries)
          for (const hold of holds)
            for (const technician of technicianHolds)
              for (const trusted of [true, false]) yield { speed, parked, mode, battery, hold, technician, trusted };
}

function says(said: Said, what: string): boolean {
  return said.state === "fresh" && said.says === what;
}

/** Under the strict policy, whose window is open at this time, so that only the clock can close it. */
function refusedByAll({ speed, parked, mode, battery, hold, technician, trusted }: Combination): readonly string[] {
  const codes: string[] = [];
  if (!says(speed, "standing") || !says(parked, "yes")) codes.push("DENY_MOVING");
  if (!says(mode, "manual")) codes.push("DENY_AUTONOMOUS_MODE");
  if (!says(battery, "full") && !says(battery, "charging")) codes.push("DENY_LOW_BATTERY");
  if (!trusted) codes.push("DENY_OUTSIDE_WINDOW");
  if (!says(hold, "free") || technician.kind === "held") codes.push("DENY_LOCAL_HOLD");
  return codes;
}

/** A policy that asks for nothing leaves the floor, and a rollback is held up by motion, mode and a real hold alone. */
function refusedByFloor(combination: Combination): readonly string[] {
  const never = ["DENY_LOW_BATTERY", "DENY_OUTSIDE_WINDOW"];
  return refusedByAll(combination).filter((code) => !never.includes(code));
}

function refusedForStop(combination: Combination): readonly string[] {
  const isHeld = says(combination.hold, "held") || combination.technician.kind === "held";
  return refusedByFloor(combination).filter((code) => code !== "DENY_LOCAL_HOLD" || isHeld);
}

function refusedBy(combination: Combination, purpose: GateContext["purpose"], policy: GateContext["policy"]) {
  const { speed, parked, mode, battery, hold, technician, trusted } = combination;
  const providers = Object.entries({ speed, parked, mode, battery, hold }).flatMap(([name, { samples }]) =>
    samples === undefined ? [] : [[name, samples] as const],
  );
  const verdict = evaluateGates({
    purpose,
    policy,
    config,
    samples: samplesOf(Object.fromEntries(providers), { hold: technician }),
    clock: { ...exampleNow, trusted },
    disk: { freeMb: 1000, neededMb: 1 },
  });
  return verdict.open ? [] : [...new Set(verdict.refusals.map(({ reasonCode }) => reasonCode))];
}

test("every combination of signals and failures agrees with the restatement", () => {
  // With a trusted clock the window is left out: looking up a time zone is most of an evaluation's cost.
  const { applyWindow: _, ...unlimited } = strictPolicy;
  let tried = 0;
  for (const combination of combinations()) {
    const policy = combination.trusted ? unlimited : strictPolicy;
    const name = () => JSON.stringify(combination, (key, value: unknown) => (key === "samples" ? undefined : value));
    assert.deepEqual(refusedBy(combination, "switch", policy), refusedByAll(combination), name());
    tried += 1;
  }
  assert.equal(tried, speeds.length * parkeds.length * modes.length * batteries.length * holds.length * 2 * 2);
});

test("H1: a policy that asks for nothing leaves the floor, and a rollback waits for nothing else", () => {
  for (const combination of combinations()) {
    if (combination.trusted) continue;
    const name = () => JSON.stringify(combination, (key, value: unknown) => (key === "samples" ? undefined : value));
    if (combination.battery === batteries[0]) {
      assert.deepEqual(refusedBy(combination, "switch", emptyPolicy), refusedByFloor(combination), name());
      assert.deepEqual(refusedBy(combination, "stop", strictPolicy), refusedForStop(combination), name());
    }
  }
});

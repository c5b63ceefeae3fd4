import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEvidence, type SignalLine } from "@muto/spec";
import type { GateContext } from "./context.ts";
import {
  calmLine,
  emptyPolicy,
  exampleConfig,
  exampleContext,
  exampleNow,
  heardFor,
  refusalsOf,
  samplesOf,
  strictPolicy,
  type ConfigChanges,
} from "./example-vehicle.ts";
import { evaluateGates } from "./gates.ts";
import type { SignalSamples } from "./signals.ts";

interface Situation {
  readonly name: string;
  readonly line?: Partial<SignalLine> | "malformed";
  readonly heard?: { readonly forSec?: number; readonly endedSec?: number };
  readonly config?: ConfigChanges;
  readonly technician?: Partial<SignalSamples["technician"]>;
  readonly context?: Partial<GateContext>;
  readonly refusals: readonly string[];
}

const gateway = [{ provider: "gateway", freshForSec: 2 }] as const;
const allSources = { speed: gateway, mode: gateway, battery: gateway };
const confirmed = {
  madeMs: exampleNow.monotonicMs - 1_000,
  untilMs: exampleNow.monotonicMs + 60_000,
  untilWallMs: exampleNow.wallMs + 60_000,
};

const situations: readonly Situation[] = [
  { name: "standing, manual, charged, in the window", refusals: [] },
  {
    name: "H1: a policy with everything switched off reaches a vehicle at speed",
    line: { speedMps: 16.7 },
    context: { policy: emptyPolicy },
    refusals: ["DENY_MOVING:speed:out-of-bounds:16.7"],
  },
  {
    name: "H1: the same policy, and the vehicle drives itself",
    line: { mode: "autonomous" },
    context: { policy: emptyPolicy },
    refusals: ["DENY_AUTONOMOUS_MODE:mode:out-of-bounds:autonomous"],
  },
  {
    name: "without any policy the floor alone decides",
    line: { speedMps: -0.1, batteryPct: 1 },
    context: { policy: undefined },
    refusals: ["DENY_MOVING:speed:out-of-bounds:-0.1"],
  },
  {
    name: "H5: waiting at a red light for half a minute",
    heard: { forSec: 30 },
    refusals: ["DENY_MOVING:standstill:out-of-bounds:30", "DENY_MOVING:standstill:out-of-bounds:30"],
  },
  {
    name: "turning on the spot",
    line: { yawRateRadps: 0.4 },
    refusals: ["DENY_MOVING:angular-speed:out-of-bounds:0.4"],
  },
  {
    name: "H6: the gateway fell silent three seconds ago",
    heard: { endedSec: 3 },
    refusals: [
      "DENY_MOVING:speed:stale:null",
      "DENY_MOVING:angular-speed:stale:null",
      "DENY_AUTONOMOUS_MODE:mode:stale:null",
      "DENY_LOW_BATTERY:battery:stale:null",
    ],
  },
  {
    name: "the gateway writes nonsense",
    line: "malformed",
    refusals: [
      "DENY_MOVING:speed:malformed:null",
      "DENY_MOVING:angular-speed:malformed:null",
      "DENY_AUTONOMOUS_MODE:mode:malformed:null",
      "DENY_LOW_BATTERY:battery:malformed:null",
    ],
  },
  {
    name: "the gateway says that it does not know",
    line: { speedMps: null, yawRateRadps: null, mode: null, batteryPct: null },
    refusals: [
      "DENY_MOVING:speed:missing:null",
      "DENY_MOVING:angular-speed:missing:null",
      "DENY_AUTONOMOUS_MODE:mode:missing:null",
      "DENY_LOW_BATTERY:battery:missing:null",
    ],
  },
  {
    name: "the gateway has no gyroscope and nobody declared that",
    context: {
      samples: samplesOf({
        gateway: heardFor(exampleConfig(), "gateway", {
          kind: "muto.signals/v1",
          speedMps: 0,
          mode: "manual",
          batteryPct: 80,
        }),
      }),
    },
    refusals: ["DENY_MOVING:angular-speed:missing:null"],
  },
  {
    name: "a yaw rate that is declared absent asks for nothing",
    config: { signals: { ...allSources, yawRate: "none" } },
    line: { yawRateRadps: null },
    refusals: [],
  },
  { name: "stopped counts as manual control", line: { mode: "stopped" }, refusals: [] },
  {
    name: "in transition",
    line: { mode: "transition" },
    refusals: ["DENY_AUTONOMOUS_MODE:mode:out-of-bounds:transition"],
  },
  {
    name: "in a minimal-risk manoeuvre",
    line: { mode: "minimal-risk-manoeuvre" },
    refusals: ["DENY_AUTONOMOUS_MODE:mode:out-of-bounds:minimal-risk-manoeuvre"],
  },
  {
    name: "H25: on a tow truck, wheels still, not parked",
    config: { signals: { ...allSources, parked: gateway } },
    line: { parked: false },
    refusals: ["DENY_MOVING:parked:out-of-bounds:false"],
  },
  {
    name: "parked is required and the vehicle has no such signal",
    config: { safety: { requireParked: true } },
    refusals: ["DENY_MOVING:parked:missing:null"],
  },
  {
    name: "no speed signal: a configured parked signal does its job",
    config: { signals: { ...allSources, speed: "none", parked: gateway } },
    refusals: [],
  },
  {
    name: "no speed signal and no parked signal",
    config: { signals: { ...allSources, speed: "none" } },
    refusals: ["DENY_MOVING:speed:missing:null"],
  },
  {
    name: "no speed signal on a machine whose own floor does not ask for standing",
    config: { signals: { ...allSources, speed: "none" }, safety: { requireStationary: false } },
    refusals: [],
  },
  {
    name: "a lowered floor is raised again by the policy",
    config: { safety: { requireStationary: false, denyAutonomous: false } },
    line: { speedMps: 3, mode: "autonomous" },
    refusals: ["DENY_MOVING:speed:out-of-bounds:3", "DENY_AUTONOMOUS_MODE:mode:out-of-bounds:autonomous"],
  },
  {
    name: "a lowered floor and a policy that asks for nothing",
    config: { safety: { requireStationary: false, denyAutonomous: false } },
    line: { speedMps: 3, mode: "autonomous" },
    context: { policy: emptyPolicy },
    refusals: [],
  },
  {
    name: "no mode signal while the floor denies autonomous mode",
    config: { signals: { ...allSources, mode: "none" } },
    refusals: ["DENY_AUTONOMOUS_MODE:mode:missing:null"],
  },
  {
    name: "no mode signal on a vehicle that cannot drive itself",
    config: { signals: { ...allSources, mode: "none" }, safety: { denyAutonomous: false } },
    refusals: [],
  },
  {
    name: "battery below the policy",
    line: { batteryPct: 34.9 },
    refusals: ["DENY_LOW_BATTERY:battery:out-of-bounds:34.9"],
  },
  { name: "battery exactly at the policy", line: { batteryPct: 35 }, refusals: [] },
  { name: "battery low but charging", line: { batteryPct: 5, charging: true }, refusals: [] },
  {
    name: "the floor asks for more battery than the policy",
    config: { safety: { batteryPctMin: 90 } },
    refusals: ["DENY_LOW_BATTERY:battery:out-of-bounds:80"],
  },
  { name: "no battery at all", config: { signals: { ...allSources, battery: "none" } }, refusals: [] },
  {
    name: "no battery, yet the floor asks for a percentage",
    config: { signals: { ...allSources, battery: "none" }, safety: { batteryPctMin: 10 } },
    refusals: ["DENY_LOW_BATTERY:battery:missing:null"],
  },
  {
    name: "at noon",
    context: { policy: { ...strictPolicy, applyWindow: { startLocal: "12:00", endLocal: "13:00" } } },
    refusals: ["DENY_OUTSIDE_WINDOW:window:out-of-bounds:03:00"],
  },
  {
    name: "H20: the clock is not trusted",
    context: { clock: { ...exampleNow, trusted: false } },
    refusals: ["DENY_OUTSIDE_WINDOW:clock:not-trusted:null"],
  },
  {
    name: "the clock is not trusted and nobody asks for a window",
    context: { clock: { ...exampleNow, trusted: false }, policy: emptyPolicy },
    refusals: [],
  },
  {
    name: "the reserve does not fit",
    context: { disk: { freeMb: 611, neededMb: 100 } },
    refusals: ["INSUFFICIENT_DISK:disk:out-of-bounds:611"],
  },
  {
    name: "the disk does not answer",
    context: { disk: { freeMb: null, neededMb: 0 } },
    refusals: ["INSUFFICIENT_DISK:disk:missing:null"],
  },
  {
    name: "the vehicle's own software holds",
    config: { signals: { ...allSources, hold: gateway } },
    line: { hold: { held: true, who: "dispatcher", why: "passengers" } },
    refusals: ["DENY_LOCAL_HOLD:hold:held:passengers"],
  },
  {
    name: "a configured hold signal is silent",
    config: { signals: { ...allSources, hold: gateway } },
    line: { hold: null },
    refusals: ["DENY_LOCAL_HOLD:hold:missing:null"],
  },
  {
    name: "a technician holds",
    technician: { hold: { kind: "held", who: "anna", why: "maintenance" } },
    refusals: ["DENY_LOCAL_HOLD:hold:held:maintenance"],
  },
  {
    name: "a technician's hold that cannot be read still holds",
    technician: { hold: { kind: "unreadable" } },
    refusals: ["DENY_LOCAL_HOLD:hold:malformed:null"],
  },
  {
    name: "all refusing gates are reported together",
    line: { speedMps: 2, mode: "autonomous", batteryPct: 3 },
    technician: { hold: { kind: "held", who: "anna", why: "mission" } },
    context: {
      disk: { freeMb: 0, neededMb: 0 },
      policy: { ...strictPolicy, applyWindow: { startLocal: "12:00", endLocal: "13:00" } },
    },
    refusals: [
      "DENY_MOVING:speed:out-of-bounds:2",
      "DENY_AUTONOMOUS_MODE:mode:out-of-bounds:autonomous",
      "DENY_LOW_BATTERY:battery:out-of-bounds:3",
      "DENY_OUTSIDE_WINDOW:window:out-of-bounds:03:00",
      "INSUFFICIENT_DISK:disk:out-of-bounds:0",
      "DENY_LOCAL_HOLD:hold:held:mission",
    ],
  },
  {
    name: "H4: a failing stack is stopped only when standing, under manual control",
    line: { speedMps: 2, mode: "autonomous" },
    context: { purpose: "stop" },
    refusals: ["DENY_MOVING:speed:out-of-bounds:2", "DENY_AUTONOMOUS_MODE:mode:out-of-bounds:autonomous"],
  },
  {
    name: "window, battery and disk never hold a rollback up",
    line: { batteryPct: 1 },
    context: {
      purpose: "stop",
      clock: { ...exampleNow, trusted: false },
      disk: { freeMb: 0, neededMb: 500 },
    },
    refusals: [],
  },
  {
    name: "a hold signal that died with the stack does not hold its rollback up",
    config: { signals: { ...allSources, hold: gateway } },
    line: { hold: null },
    context: { purpose: "stop" },
    refusals: [],
  },
  {
    name: "a technician with hands in the machine holds even a rollback up",
    technician: { hold: { kind: "held", who: "anna", why: "maintenance" } },
    context: { purpose: "stop" },
    refusals: ["DENY_LOCAL_HOLD:hold:held:maintenance"],
  },
  {
    name: "all signals died with the stack and a technician confirms that it stands",
    context: { purpose: "stop" },
    heard: { endedSec: 60 },
    technician: { standing: confirmed },
    refusals: [],
  },
  {
    name: "a confirmation opens neither battery nor hold",
    heard: { endedSec: 60 },
    technician: { standing: confirmed, hold: { kind: "unreadable" } },
    refusals: ["DENY_LOW_BATTERY:battery:stale:null", "DENY_LOCAL_HOLD:hold:malformed:null"],
  },
  {
    name: "a confirmation never overrules a fresh signal that says moving",
    line: { speedMps: 1 },
    technician: { standing: { ...confirmed, madeMs: exampleNow.monotonicMs + 1 } },
    refusals: ["DENY_MOVING:speed:out-of-bounds:1"],
  },
  {
    name: "a confirmation does not shorten the standstill",
    heard: { forSec: 10 },
    technician: { standing: confirmed },
    refusals: ["DENY_MOVING:standstill:out-of-bounds:10", "DENY_MOVING:standstill:out-of-bounds:10"],
  },
  {
    name: "a confirmation has expired on the monotonic clock",
    context: { purpose: "stop" },
    heard: { endedSec: 60 },
    technician: { standing: { ...confirmed, untilMs: exampleNow.monotonicMs } },
    refusals: [
      "DENY_MOVING:speed:stale:null",
      "DENY_MOVING:angular-speed:stale:null",
      "DENY_AUTONOMOUS_MODE:mode:stale:null",
    ],
  },
  {
    name: "a confirmation has expired on the wall clock",
    context: { purpose: "stop" },
    line: { mode: null },
    technician: { standing: { ...confirmed, untilWallMs: exampleNow.wallMs } },
    refusals: ["DENY_AUTONOMOUS_MODE:mode:missing:null"],
  },
  {
    name: "H6: signals fall silent in motion after the confirmation was made",
    context: { purpose: "stop" },
    line: { speedMps: 8 },
    heard: { forSec: 10, endedSec: 30 },
    technician: { standing: { ...confirmed, madeMs: exampleNow.monotonicMs - 35_000 } },
    refusals: [
      "DENY_MOVING:speed:stale:null",
      "DENY_MOVING:angular-speed:stale:null",
      "DENY_AUTONOMOUS_MODE:mode:stale:null",
    ],
  },
];

for (const { name, line = {}, heard = {}, config = {}, technician = {}, context = {}, refusals } of situations) {
  test(`gates: ${name}`, () => {
    const vehicle = exampleConfig(config);
    const said = line === "malformed" ? line : { ...calmLine, ...line };
    const samples = samplesOf({ gateway: heardFor(vehicle, "gateway", said, heard) }, technician);
    const verdict = evaluateGates(exampleContext({ config: vehicle, samples, ...context }));
    assert.deepEqual(refusalsOf(verdict), refusals);
    const reported = verdict.open ? [] : verdict.refusals;
    assert.deepEqual(
      reported.filter(({ evidence }) => !parseEvidence(evidence).ok),
      [],
      "the contract knows the evidence",
    );
  });
}

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
} from "./example-vehicle.ts";
import { evaluateGates, type GateVerdict } from "./gates.ts";
import { hear, standingLimits } from "./hear.ts";
import { refuseUnacknowledged } from "./hold.ts";
import type { ProviderSamples } from "./signals.ts";

const gateway = [{ provider: "gateway", freshForSec: 2 }] as const;
const allSources = { speed: gateway, mode: gateway, battery: gateway };
const confirmed = {
  madeMs: exampleNow.monotonicMs - 1_000,
  untilMs: exampleNow.monotonicMs + 60_000,
  untilWallMs: exampleNow.wallMs + 60_000,
};

function judge(changes: Partial<GateContext>): GateVerdict {
  return evaluateGates(exampleContext(changes));
}

test("gates: H6: a wheel sensor fell silent while another keeps writing zero", () => {
  const wheels = { provider: "wheels", freshForSec: 2 };
  const config = exampleConfig({ signals: { ...allSources, speed: [...gateway, wheels], yawRate: gateway } });
  const providers = {
    gateway: heardFor(config, "gateway", calmLine),
    wheels: heardFor(config, "wheels", { kind: "muto.signals/v1", speedMps: 14 }, { endedSec: 5 }),
  };
  assert.deepEqual(refusalsOf(judge({ config, samples: samplesOf(providers) })), ["DENY_MOVING:speed:stale:null"]);

  const optional = [...gateway, { ...wheels, optional: true }];
  const excused = exampleConfig({ signals: { ...allSources, speed: optional, yawRate: gateway } });
  assert.deepEqual(refusalsOf(judge({ config: excused, samples: samplesOf(providers) })), [
    "DENY_MOVING:standstill:out-of-bounds:5",
  ]);
  const longSilent = heardFor(config, "wheels", { kind: "muto.signals/v1", speedMps: 14 }, { endedSec: 120 });
  const forgotten = samplesOf({ ...providers, wheels: longSilent });
  assert.deepEqual(refusalsOf(judge({ config: excused, samples: forgotten })), []);

  const alive = { ...providers, wheels: heardFor(config, "wheels", { kind: "muto.signals/v1", speedMps: 14 }) };
  assert.deepEqual(refusalsOf(judge({ config: excused, samples: samplesOf(alive) })), [
    "DENY_MOVING:speed:out-of-bounds:14",
  ]);
});

test("gates: H6: an optional source that no longer knows its speed does not unsay that it moved", () => {
  const wheels = { provider: "wheels", freshForSec: 2, optional: true };
  const config = exampleConfig({ signals: { ...allSources, speed: [...gateway, wheels], yawRate: gateway } });
  const limits = standingLimits(config, "wheels");
  const moving = heardFor(config, "wheels", { kind: "muto.signals/v1", speedMps: 14 }, { endedSec: 5 });
  const codes = (after: ProviderSamples) => {
    const samples = samplesOf({ gateway: heardFor(config, "gateway", calmLine), wheels: after });
    return refusalsOf(judge({ config, samples }));
  };
  const silenced = [
    hear(moving, { kind: "muto.signals/v1", speedMps: null }, exampleNow, limits),
    hear(moving, { kind: "malformed", keys: ["speedMps"] }, exampleNow, limits),
    hear(moving, "malformed", exampleNow, limits),
  ];
  for (const after of silenced) assert.deepEqual(codes(after), ["DENY_MOVING:standstill:out-of-bounds:5"]);
  const longAgo = heardFor(config, "wheels", { kind: "muto.signals/v1", speedMps: 14 }, { endedSec: 120 });
  assert.deepEqual(codes(hear(longAgo, "malformed", exampleNow, limits)), []);
});

test("gates: a signal whose providers are all optional is still a signal", () => {
  const config = exampleConfig({ signals: { ...allSources, speed: [{ provider: "gateway", optional: true }] } });
  assert.deepEqual(refusalsOf(judge({ config, samples: samplesOf({}) })), [
    "DENY_MOVING:speed:missing:null",
    "DENY_MOVING:angular-speed:missing:null",
    "DENY_AUTONOMOUS_MODE:mode:missing:null",
    "DENY_LOW_BATTERY:battery:missing:null",
  ]);
});

test("gates: a computer that slept does not take yesterday's samples for fresh ones", () => {
  const asleepMs = 8 * 3_600_000;
  const clock = { monotonicMs: exampleNow.monotonicMs + 100, wallMs: exampleNow.wallMs + asleepMs, trusted: true };
  const refusals = refusalsOf(judge({ clock, policy: emptyPolicy }));
  assert.deepEqual(refusals, [
    "DENY_MOVING:speed:stale:null",
    "DENY_MOVING:angular-speed:stale:null",
    "DENY_AUTONOMOUS_MODE:mode:stale:null",
  ]);
});

test("gates: a confirmation that let something pass is named with its end", () => {
  const silent = { config: exampleConfig(), samples: samplesOf({}, { standing: confirmed }), purpose: "stop" as const };
  const verdict = judge(silent);
  assert.equal(verdict.open, true);
  const until = new Date(confirmed.untilWallMs).toISOString();
  assert.deepEqual(verdict.confirmations, [
    { kind: "confirmation", reasonCode: "DENY_MOVING", until },
    { kind: "confirmation", reasonCode: "DENY_AUTONOMOUS_MODE", until },
  ]);
  const unneeded = exampleContext({ samples: { ...exampleContext().samples, technician: silent.samples.technician } });
  assert.deepEqual(evaluateGates(unneeded).confirmations, []);
});

test("gates: the snapshot shows what was seen, with ages", () => {
  const config = exampleConfig();
  const seen = judge({
    samples: samplesOf({ gateway: heardFor(config, "gateway", calmLine, { endedSec: 1 }) }),
  }).snapshot;
  assert.deepEqual(seen, {
    moving: { value: false, ageMs: 1000 },
    autonomousMode: { value: false, ageMs: 1000 },
    batteryPct: { value: 80, ageMs: 1000 },
    insideWindow: { value: true, ageMs: 0 },
  });
  const unseen = judge({ samples: samplesOf({}), clock: { ...exampleNow, trusted: false } }).snapshot;
  const nothing = { value: null, ageMs: null };
  assert.deepEqual(unseen, { moving: nothing, autonomousMode: nothing, batteryPct: nothing, insideWindow: nothing });
  const moving = heardFor(config, "gateway", { ...calmLine, yawRateRadps: 1, mode: "transition" });
  const driven = judge({ samples: samplesOf({ gateway: moving }) }).snapshot;
  assert.deepEqual([driven.moving.value, driven.autonomousMode.value], [true, true]);
});

test("gates: charging counts only while every provider that speaks of it says so", () => {
  const plug = { provider: "plug", freshForSec: 2, optional: true };
  const config = exampleConfig({ signals: { ...allSources, battery: [...gateway, plug] } });
  const low: SignalLine = { ...calmLine, batteryPct: 5, charging: true };
  const codes = (charging: boolean, endedSec: number) =>
    refusalsOf(
      judge({
        config,
        samples: samplesOf({
          gateway: heardFor(config, "gateway", low),
          plug: heardFor(config, "plug", { kind: "muto.signals/v1", batteryPct: 90, charging }, { endedSec }),
        }),
      }),
    );
  assert.deepEqual(codes(true, 0), []);
  assert.deepEqual(codes(false, 0), ["DENY_LOW_BATTERY:battery:out-of-bounds:5"]);
  assert.deepEqual(codes(true, 5), ["DENY_LOW_BATTERY:battery:out-of-bounds:5"]);
});

test("gates: a change that nobody acknowledged is refused in the contract's words", () => {
  const { reasonCode, evidence } = refuseUnacknowledged(10_000.4);
  assert.equal(reasonCode, "DENY_LOCAL_HOLD");
  assert.ok(parseEvidence(evidence).ok);
});

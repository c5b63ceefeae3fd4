import assert from "node:assert/strict";
import { test } from "node:test";
import { modelAssignment, modelRelease, type ModelRelease } from "@muto/agent/model/release";
import { ModelVehicle } from "@muto/agent/model/vehicle";
import { modelOffer } from "@muto/agent/model/verifier";
import { watchInvariants } from "@muto/agent/model/invariants";
import { calmLine } from "@muto/agent/safety/example-vehicle";

/*
 * Every crash point of whole changes, one after the other: the agent is killed at its n-th call to the world, for every n
 * that the change makes. Afterwards the old or the new set runs, whole, and when nothing fails any more the change ends as
 * it would have ended without the crash.
 */

const old = modelRelease({ version: "1.0.0" });
const wanted = modelRelease({ version: "1.1.0", oneshots: ["calibrate"] });
const crashing = modelRelease({ version: "2.0.0", behaviour: { exitMs: 900 }, health: { maxRestarts: 1 } });
const dying = modelRelease({ version: "2.0.1", behaviour: { exitMs: 20_000 }, health: { maxRestarts: 0 } });
const hanging = modelRelease({
  version: "2.0.2",
  behaviour: { readyMs: Number.POSITIVE_INFINITY },
  health: { readinessTimeoutSec: 2 },
});

async function onOld(): Promise<ModelVehicle> {
  const vehicle = new ModelVehicle();
  for (const release of [old, wanted, crashing, dying, hanging]) vehicle.publish(release);
  vehicle.offer(modelOffer(modelAssignment(old, 1)));
  await vehicle.settle();
  return vehicle;
}

async function fresh(): Promise<ModelVehicle> {
  const vehicle = new ModelVehicle();
  for (const release of [old, wanted, crashing, dying, hanging]) vehicle.publish(release);
  return vehicle;
}

interface Scenario {
  readonly name: string;
  readonly from: () => Promise<ModelVehicle>;
  readonly to: ModelRelease;
  readonly ends: { readonly active: ModelRelease | null; readonly status: string };
}

const scenarios: readonly Scenario[] = [
  { name: "first installation", from: fresh, to: old, ends: { active: old, status: "converged" } },
  { name: "upgrade", from: onOld, to: wanted, ends: { active: wanted, status: "converged" } },
  { name: "crash loop before readiness", from: onOld, to: crashing, ends: { active: old, status: "rolled_back" } },
  { name: "crash in probation", from: onOld, to: dying, ends: { active: old, status: "rolled_back" } },
  { name: "never ready", from: onOld, to: hanging, ends: { active: old, status: "rolled_back" } },
  { name: "first installation that fails", from: fresh, to: hanging, ends: { active: null, status: "failed" } },
];

const crashes = ["kill", "kill and drive off", "power cut"] as const;

for (const { name, from, to, ends } of scenarios) {
  for (const crash of crashes) {
    void test(`${name}: ${crash} at every call to the world`, async () => {
      const offer = modelOffer(modelAssignment(to, 2));
      const undisturbed = await from();
      const begun = undisturbed.calls;
      undisturbed.offer(offer);
      await settleFully(undisturbed);
      assertEnd(undisturbed, ends);
      const calls = undisturbed.calls - begun;
      assert.ok(calls > 50, "the change makes calls that can be counted");
      for (let after = 0; after < calls; after += 1) {
        const vehicle = await from();
        const invariants = watchInvariants(vehicle);
        vehicle.offer(offer);
        vehicle.killAfterCalls = after;
        await passUntilKilled(vehicle, () => invariants.check());
        invariants.check();
        if (crash === "power cut") {
          vehicle.reboot();
          invariants.rebooted();
        }
        if (crash === "kill and drive off") await driveFor(vehicle, () => invariants.check());
        // A poll brings what may have been lost with the process.
        vehicle.offer(offer);
        await settleFully(vehicle);
        invariants.check();
        assertEnd(vehicle, ends, `${name}, ${crash} at call ${after} of ${calls}`);
      }
    });
  }
}

async function passUntilKilled(vehicle: ModelVehicle, check: () => void): Promise<void> {
  for (let count = 0; count < 2_000 && vehicle.killAfterCalls !== undefined; count++) {
    const step = await vehicle.pass();
    check();
    if (step?.kind === "settled") return;
    if (step?.kind === "hold") vehicle.wait(step.wakeWhen.afterMs);
  }
}

/** The vehicle drives for five minutes; whatever runs goes on running, and nothing of it may be stopped unless a stop had begun. */
async function driveFor(vehicle: ModelVehicle, check: () => void): Promise<void> {
  vehicle.line = { ...calmLine, speedMps: 16.7 };
  for (let count = 0; count < 60; count++) {
    const step = await vehicle.pass();
    check();
    vehicle.advance(step?.kind === "hold" || step?.kind === "settled" ? 5_000 : 100);
  }
  vehicle.line = calmLine;
  vehicle.hearFor(0);
  vehicle.advance(130_000);
}

/** Until nothing is left to do, through every hold that time alone ends. */
async function settleFully(vehicle: ModelVehicle): Promise<void> {
  for (let count = 0; count < 20; count++) {
    const step = await vehicle.settle();
    const { trial, rollback } = vehicle.state;
    if (step?.kind === "settled") return;
    if (step?.kind === "hold" && step.status === "failed" && trial === null && rollback === null) return;
    vehicle.wait(step?.kind === "hold" ? step.wakeWhen.afterMs : 0);
  }
  throw new Error("the vehicle does not come to rest");
}

function assertEnd(vehicle: ModelVehicle, ends: Scenario["ends"], message = "undisturbed"): void {
  const { state, runtime, lastReport } = vehicle;
  assert.equal(state.trial, null, message);
  assert.equal(state.rollback, null, message);
  assert.equal(state.active?.manifestDigest, ends.active?.manifestDigest, message);
  assert.deepEqual(runtime.runningSets(), ends.active === null ? [] : [ends.active.manifestDigest], message);
  assert.equal(lastReport?.status, ends.status, message);
  assert.equal(lastReport?.sequence, 2, message);
}

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { modelRelease } from "./model/release.ts";
import { assign, crashing, drive, first, park, second, unready, vehicleOnFirst } from "./model/story.ts";
import type { ModelVehicle } from "./model/vehicle.ts";
import type { JournalRecord } from "./reconcile/records.ts";

const refusing = modelRelease({ version: "7.0.0", behaviour: { startsOk: false } });
const stuck = modelRelease({ version: "7.1.0", behaviour: { stops: false } });
const wanted = [second, unready, crashing, refusing, stuck];

/** What goes wrong and stays wrong; each is a state of the world, so that nothing but the agent itself moves afterwards. */
const FAULTS: Readonly<Record<string, (vehicle: ModelVehicle) => void>> = {
  "the vehicle cannot be told": (vehicle) => void (vehicle.flagRefuses = true),
  "the disk is full": (vehicle) => void (vehicle.freeMb = 0),
  "the journal has no room": (vehicle) => void (vehicle.refusesRecord = () => true),
  "what was accepted finds no room": refuse("accepted"),
  "reports cannot be noted": refuse("reported"),
  "exits cannot be noted": refuse("exited"),
  "no trial can be begun": refuse("trial-begun"),
  "the storage failed": (vehicle) => void (vehicle.diskFaulted = true),
  "the network is down": (vehicle) => void (vehicle.networkUp = false),
  "what is staged cannot be read": (vehicle) => {
    vehicle.kill();
    for (const { manifestDigest } of wanted) vehicle.unreadable.add(manifestDigest);
  },
  "what runs cannot be read": (vehicle) => {
    vehicle.kill();
    vehicle.unreadable.add(first.manifestDigest);
  },
  "the way back is damaged": (vehicle) => void vehicle.runtime.damaged.add(first.manifestDigest),
  "what runs cannot be looked at": (vehicle) => void (vehicle.runtime.looksRefused = Number.POSITIVE_INFINITY),
  "no probe is met": (vehicle) => {
    for (const name of ["control-up", "lidar-up"]) vehicle.runtime.unmeetable.add(name);
  },
  "it drives": drive,
  "it parks": park,
  "the signals fall silent": (vehicle) => void (vehicle.line = null),
  "the stack dies": (vehicle) => {
    for (const { instanceId } of vehicle.runtime.running()) vehicle.runtime.end(instanceId, 139);
  },
  "the agent dies": (vehicle) => vehicle.kill(),
};

const PASSES = 500;
/** On the average of so many passes, the loop that gets nowhere looks at the world no more often. */
const PASS_MS_MIN = 100;

/** Each fault on its own, right before a good release would be changed to. */
const ALONE = Object.keys(FAULTS).map(
  (name): [{ readonly name: string; readonly passes: number }[], number, boolean] => [[{ name, passes: 0 }], 0, false],
);

void test("no faults make the loop spin: it works, or it waits", async () => {
  const fault = fc.record({
    name: fc.constantFrom(...Object.keys(FAULTS)),
    /** Passes that go by before the next fault. */
    passes: fc.integer({ min: 0, max: 60 }),
  });
  const faults = fc.array(fault, { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(faults, fc.nat(wanted.length - 1), fc.boolean(), async (sequence, which, acknowledges) => {
      const changeInProgress = { acknowledgementRequired: acknowledges, acknowledgementTimeoutSec: 10 };
      const vehicle = await vehicleOnFirst();
      const next = wanted[which];
      assert.ok(next !== undefined);
      for (const release of wanted) vehicle.publish(release);
      Object.assign(vehicle.config.changeInProgress, changeInProgress);
      assign(vehicle, next, 2);
      for (const { name, passes } of sequence) {
        FAULTS[name]?.(vehicle);
        await passesAndWaits(vehicle, passes);
      }
      const fromMs = vehicle.clock.monotonicMs();
      const steps = await passesAndWaits(vehicle, PASSES);
      const tookMs = vehicle.clock.monotonicMs() - fromMs;
      assert.ok(tookMs >= PASSES * PASS_MS_MIN, `${PASSES} passes in ${tookMs} ms: ${steps.slice(-12).join(", ")}`);
    }),
    { numRuns: 80, endOnFailure: false, examples: [...ALONE] },
  );
});

/** Passes, and the waits that their steps ask for; the loop's own restraint, the floor under all of this, is left out. */
async function passesAndWaits(vehicle: ModelVehicle, count: number): Promise<readonly string[]> {
  const steps: string[] = [];
  for (let done = 0; done < count; done++) {
    const step = await vehicle.pass();
    if (step === undefined) continue;
    steps.push("act" in step ? `${step.kind} ${step.act.do}` : step.kind);
    if (step.kind === "hold" || step.kind === "settled") vehicle.wait(step.wakeWhen.afterMs);
  }
  return steps;
}

function refuse(kind: JournalRecord["kind"]): (vehicle: ModelVehicle) => void {
  return (vehicle) => {
    const before = vehicle.refusesRecord;
    vehicle.refusesRecord = (record) => record.kind === kind || before(record);
  };
}

import assert from "node:assert/strict";
import type { Assignment } from "@muto/spec";
import { calmLine } from "../safety/example-vehicle.ts";
import { watchInvariants } from "./invariants.ts";
import { modelAssignment, modelRelease, type ModelRelease } from "./release.ts";
import { ModelVehicle } from "./vehicle.ts";
import { modelOffer } from "./verifier.ts";

/** What tests of whole changes on a model vehicle say again and again. */
export const first = modelRelease({ version: "1.0.0" });
export const second = modelRelease({ version: "2.0.0" });
export const third = modelRelease({ version: "3.0.0" });
export const unready = modelRelease({
  version: "4.0.0",
  behaviour: { readyMs: Number.POSITIVE_INFINITY },
  health: { readinessTimeoutSec: 5 },
});
export const crashing = modelRelease({ version: "5.0.0", behaviour: { exitMs: 30_000 }, health: { maxRestarts: 0 } });
export const releases = [first, second, third, unready, crashing];

/** Runs the first release, committed; the invariants are watched from then on. */
export async function vehicleOnFirst(
  changes: ConstructorParameters<typeof ModelVehicle>[0] = {},
  settle: (vehicle: ModelVehicle) => Promise<unknown> = (vehicle) => vehicle.settle(),
): Promise<ModelVehicle> {
  const vehicle = new ModelVehicle(changes);
  for (const release of releases) vehicle.publish(release);
  assign(vehicle, first, 1);
  await settle(vehicle);
  watchInvariants(vehicle);
  return vehicle;
}

export function assign(
  vehicle: ModelVehicle,
  release: ModelRelease,
  sequence: number,
  changes: Partial<Assignment> = {},
): void {
  vehicle.offer(modelOffer(modelAssignment(release, sequence, changes)));
}

export function runs(vehicle: ModelVehicle, release: ModelRelease | null): void {
  assert.deepEqual(vehicle.runtime.runningSets(), release === null ? [] : [release.manifestDigest]);
}

export function lastSays(vehicle: ModelVehicle, status: string, ...codes: readonly string[]): void {
  assert.equal(vehicle.lastReport?.status, status);
  assert.deepEqual(vehicle.lastReport.reasonCodes, codes);
}

export const drive = (vehicle: ModelVehicle) => void (vehicle.line = { ...calmLine, speedMps: 16.7 });

export function park(vehicle: ModelVehicle): void {
  vehicle.line = calmLine;
  vehicle.hearFor(0);
  vehicle.advance(125_000);
}

export async function passes(vehicle: ModelVehicle, count: number, stepMs = 1_000): Promise<void> {
  for (let done = 0; done < count; done++) {
    await vehicle.pass();
    vehicle.advance(stepMs);
  }
}

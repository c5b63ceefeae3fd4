import assert from "node:assert/strict";
import { test } from "node:test";
import { modelAssignment, modelRelease } from "./model/release.ts";
import { ModelVehicle } from "./model/vehicle.ts";
import { modelOffer } from "./model/verifier.ts";

test("a first assignment is downloaded, staged, started, probed, committed and reported", async () => {
  const vehicle = new ModelVehicle();
  const first = modelRelease({ version: "1.0.0" });
  vehicle.publish(first);
  vehicle.offer(modelOffer(modelAssignment(first, 1)));
  const step = await vehicle.settle();
  assert.equal(step?.kind, "settled", JSON.stringify(step));
  assert.equal(vehicle.state.active?.manifestDigest, first.manifestDigest);
  assert.deepEqual(vehicle.runtime.runningSets(), [first.manifestDigest]);
  assert.equal(vehicle.lastReport?.status, "converged");
  assert.deepEqual(vehicle.told.slice(-1), [null]);
});

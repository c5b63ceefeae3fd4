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

test("the release before is wanted again: what is still here is switched to, as often as it is asked for", async () => {
  const vehicle = new ModelVehicle();
  const [one, two] = [modelRelease({ version: "1.0.0" }), modelRelease({ version: "2.0.0" })];
  for (const release of [one, two]) vehicle.publish(release);
  for (const [index, wanted] of [one, two, one, two].entries()) {
    vehicle.offer(modelOffer(modelAssignment(wanted, index + 1)));
    await vehicle.settle();
    assert.equal(vehicle.state.active?.version, wanted.manifest.version);
    assert.deepEqual(vehicle.runtime.runningSets(), [wanted.manifestDigest]);
    assert.equal(vehicle.lastReport?.status, "converged");
  }
});

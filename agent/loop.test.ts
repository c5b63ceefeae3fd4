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

test("who asks for the vehicle's health in the middle of a start gets what was seen before it, and disturbs nobody", async () => {
  const vehicle = new ModelVehicle();
  const first = modelRelease({ version: "1.0.0" });
  vehicle.publish(first);
  vehicle.offer(modelOffer(modelAssignment(first, 1)));
  const { runtime } = vehicle;
  const [inspect, start] = [runtime.inspect.bind(runtime), runtime.start.bind(runtime)];
  let starting = false;
  const seen: string[] = [];
  runtime.inspect = async () => {
    assert.equal(starting, false, "looked at in the middle of a start");
    return await inspect();
  };
  runtime.start = async (...args) => {
    starting = true;
    const started = await start(...args);
    seen.push(...(await vehicle.agent().health()).workloads.map(({ state }) => state));
    starting = false;
    return started;
  };
  await vehicle.settle();
  assert.equal(starting, false);
  assert.deepEqual(seen, ["exited", "exited", "running", "exited"]);
  const { workloads } = await vehicle.agent().health();
  assert.deepEqual(
    workloads.map(({ state }) => state),
    workloads.map(() => "ready"),
  );
  assert.ok(workloads.length > 0);
});

test("an effect waits for whoever is looking at what runs", async () => {
  const vehicle = new ModelVehicle();
  const first = modelRelease({ version: "1.0.0" });
  vehicle.publish(first);
  vehicle.offer(modelOffer(modelAssignment(first, 1)));
  const { runtime } = vehicle;
  const [inspect, start] = [runtime.inspect.bind(runtime), runtime.start.bind(runtime)];
  let looking = 0;
  let started = 0;
  runtime.inspect = async () => {
    looking += 1;
    await new Promise((resolve) => setImmediate(resolve));
    looking -= 1;
    return await inspect();
  };
  runtime.start = async (...args) => {
    started += 1;
    assert.equal(looking, 0);
    return await start(...args);
  };
  let asking = true;
  const asker = (async () => {
    while (asking) {
      await vehicle.agent().health();
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  await vehicle.settle();
  asking = false;
  await asker;
  assert.ok(started > 0);
});

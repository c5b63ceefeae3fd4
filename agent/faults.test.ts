import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { modelRelease } from "./model/release.ts";
import { assign, first, lastSays, passes, runs, vehicleOnFirst } from "./model/story.ts";

/** As many workloads and probes as a manifest may have. */
const WORKLOADS_MAX = 64;
const largest = modelRelease({
  version: "9.0.0",
  workloads: Array.from({ length: WORKLOADS_MAX }, (_, index) => `workload-${index}`),
  behaviour: { readyMs: Number.POSITIVE_INFINITY },
  health: { readinessTimeoutSec: 5 },
});

void describe("what goes wrong on the vehicle's own computer", () => {
  void test("H8: the largest stack that a manifest allows never becomes ready, and is left like any other", async () => {
    const vehicle = await vehicleOnFirst();
    vehicle.publish(largest);
    assign(vehicle, largest, 2);
    await vehicle.settle();
    runs(vehicle, first);
    lastSays(vehicle, "rolled_back", "READINESS_TIMEOUT", "ROLLBACK_APPLIED");
    const kinds = vehicle.lastReport?.evidence.map(({ kind }) => kind);
    assert.ok(kinds?.includes("probe") && kinds.includes("rollback"), "the cause and the return are both told");
  });

  void test("H8: the largest stack that a manifest allows is what a failed change returns to, and does not come up", async () => {
    const vehicle = await vehicleOnFirst();
    const good = { ...largest, behaviour: { ...largest.behaviour, readyMs: 400 } };
    vehicle.publish(good);
    assign(vehicle, good, 2);
    await vehicle.settle();
    runs(vehicle, largest);
    const next = modelRelease({
      version: "9.1.0",
      workloads: largest.manifest.workloads.map(({ name }) => name),
      behaviour: { readyMs: Number.POSITIVE_INFINITY },
      health: { readinessTimeoutSec: 5 },
    });
    vehicle.publish(next);
    assign(vehicle, next, 3);
    for (let count = 0; count < 200 && vehicle.state.trial?.phase !== "starting"; count++) await vehicle.pass();
    vehicle.runtime.behaviours.set(largest.manifestDigest, largest.behaviour);
    await passes(vehicle, 400, 200);
    lastSays(vehicle, "failed", "READINESS_TIMEOUT", "ROLLBACK_FAILED");
  });
});

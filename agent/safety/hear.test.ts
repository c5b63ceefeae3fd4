import assert from "node:assert/strict";
import { test } from "node:test";
import { calmLine, exampleConfig, exampleNow, heardFor, momentsAgo, samplesOf } from "./example-vehicle.ts";
import { hear, standingLimits } from "./hear.ts";
import { readSource } from "./readings.ts";

test("hear: one moving sample between two looks begins the standstill anew", () => {
  const config = exampleConfig();
  const limits = standingLimits(config, "gateway");
  const before = heardFor(config, "gateway", calmLine, { endedSec: 2 });
  const moved = hear(before, { ...calmLine, speedMps: 0.1 }, momentsAgo(1), limits);
  const after = hear(moved, calmLine, momentsAgo(0), limits);
  assert.equal(after.calmSinceMs.speedMps, exampleNow.monotonicMs);
  assert.equal(after.calmSinceMs.yawRateRadps, before.calmSinceMs.yawRateRadps);
  assert.equal(after.contradictedMs, momentsAgo(1).monotonicMs);
});

test("hear: a silence longer than freshForSec begins the standstill anew", () => {
  const config = exampleConfig();
  const limits = standingLimits(config, "gateway");
  const before = heardFor(config, "gateway", calmLine, { endedSec: 3 });
  assert.equal(hear(before, calmLine, momentsAgo(1), limits).calmSinceMs.speedMps, before.calmSinceMs.speedMps);
  assert.equal(hear(before, calmLine, momentsAgo(0.9), limits).calmSinceMs.speedMps, momentsAgo(0.9).monotonicMs);
});

test("hear: the line's own time makes a sample older, never younger, and must be a time", () => {
  const limits = standingLimits(exampleConfig(), "gateway");
  const heardAt = (at: string) => {
    const heard = hear(samplesBefore, { ...calmLine, at }, exampleNow, limits);
    return [heard.lastLine, heard.samples.speedMps?.takenMs];
  };
  const samplesBefore = heardFor(exampleConfig(), "gateway", calmLine, { endedSec: 1 });
  assert.deepEqual(heardAt("2026-06-01T00:59:55.000Z"), ["good", exampleNow.monotonicMs - 5_000]);
  assert.deepEqual(heardAt("2099-01-01T00:00:00Z"), ["good", exampleNow.monotonicMs]);
  assert.deepEqual(heardAt("2026-13-01T00:00:00Z"), ["malformed", undefined]);
});

test("hear: keys that are not understood are taken back alone, and begin the standstill anew", () => {
  const config = exampleConfig();
  const limits = standingLimits(config, "gateway");
  const before = heardFor(config, "gateway", calmLine, { endedSec: 1 });
  const after = hear(before, { kind: "malformed", keys: ["speedMps"] }, exampleNow, limits);
  assert.equal(after.samples.speedMps?.value, null);
  assert.equal(after.samples.mode?.value, "manual");
  assert.deepEqual(after.calmSinceMs, { ...before.calmSinceMs, speedMps: null });
  const source = [{ provider: "gateway", optional: false, freshForSec: 2 }];
  const { missed } = readSource("speedMps", source, samplesOf({ gateway: after }), exampleNow);
  assert.deepEqual(
    missed.map(({ problem }) => problem),
    ["malformed"],
  );
});

test("hear: an older word against standing does not hide a newer one", () => {
  const limits = standingLimits(exampleConfig(), "gateway");
  const moved = hear(heardFor(exampleConfig(), "gateway", calmLine), { ...calmLine, speedMps: 1 }, exampleNow, limits);
  const late = hear(moved, { ...calmLine, mode: "autonomous" }, momentsAgo(5), limits);
  assert.equal(late.contradictedMs, exampleNow.monotonicMs);
});

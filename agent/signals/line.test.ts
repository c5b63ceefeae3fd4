import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseSignalLine } from "@muto/spec";
import { exampleConfig, exampleNow } from "../safety/example-vehicle.ts";
import { hear, standingLimits } from "../safety/hear.ts";
import { silentProvider } from "../safety/signals.ts";
import { LINE_BYTES_MAX, parseLine } from "./line.ts";

const limits = standingLimits(exampleConfig(), "gateway");

/** Whatever comes is a line of the contract or malformed, and neither disturbs whoever hears it. */
function survives(bytes: Uint8Array): void {
  const line = parseLine(bytes);
  assert.ok(line === "malformed" || (bytes.byteLength <= LINE_BYTES_MAX && parseSignalLine(line).ok));
  const heard = hear(silentProvider, line, exampleNow, limits);
  const speed = heard.samples.speedMps?.value;
  assert.ok(speed === undefined || speed === null || Number.isFinite(speed));
}

test("line: any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 2 * LINE_BYTES_MAX }), survives), { seed: 1, numRuns: 300 });
});

test("line: any JSON", () => {
  const text = fc.json({ maxDepth: 8 }).map((json) => new TextEncoder().encode(json));
  fc.assert(fc.property(text, survives), { seed: 2, numRuns: 500 });
});

test("line: any values under the keys of the contract", () => {
  const value = fc.oneof(fc.double(), fc.boolean(), fc.string(), fc.constant(null), fc.object({ maxDepth: 2 }));
  const keys = ["at", "speedMps", "yawRateRadps", "parked", "mode", "batteryPct", "charging", "metered", "hold"];
  const line = fc
    .dictionary(fc.constantFrom(...keys, "changeAcknowledged", "__proto__", "constructor"), value)
    .map((values) => new TextEncoder().encode(JSON.stringify({ ...values, kind: "muto.signals/v1" })));
  fc.assert(fc.property(line, survives), { seed: 3, numRuns: 300 });
});

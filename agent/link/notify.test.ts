import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "@muto/kit/logger";
import { TOPICS } from "@muto/spec";
import { notifyListener } from "./notify.ts";

const own = { tenant: "default", vehicleId: "vehicle-1" };
const url = "https://muto.example.org/api/v1/desired-states/latest?vehicleId=vehicle-1";
const notify = { kind: "muto.desired-notify/v1", desiredStateRevision: `dsr_${"0".repeat(26)}`, sequence: 8, url };

/** How often a listener of a vehicle that has accepted sequence 7 is woken, and what it warns of. */
function hearing(topic: string, payload: Uint8Array): { readonly woken: number; readonly warnings: number } {
  let woken = 0;
  let warnings = 0;
  const logger = { ...silentLogger, warn: () => (warnings += 1) };
  const options = { own, cloudUrl: "https://muto.example.org/", logger, sequenceFloor: () => 7 };
  notifyListener({ ...options, onNewer: () => (woken += 1) })(topic, payload);
  return { woken, warnings };
}

const ours = TOPICS.desiredNotify.format(own);
const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const cases = [
  ["a newer sequence", ours, notify, { woken: 1, warnings: 0 }],
  ["the sequence that it has", ours, { ...notify, sequence: 7 }, { woken: 0, warnings: 0 }],
  [
    "for another vehicle",
    TOPICS.desiredNotify.format({ ...own, vehicleId: "vehicle-2" }),
    notify,
    { woken: 0, warnings: 0 },
  ],
  [
    "H26: another origin is said, and not followed",
    ours,
    { ...notify, url: "https://evil.example/" },
    { woken: 1, warnings: 1 },
  ],
  [
    "another scheme is another origin",
    ours,
    { ...notify, url: url.replace("https", "http") },
    { woken: 1, warnings: 1 },
  ],
  ["another kind", ours, { ...notify, kind: "muto.command/v1" }, { woken: 0, warnings: 0 }],
  ["larger than the contract's limit", ours, { ...notify, pad: "x".repeat(3_000) }, { woken: 0, warnings: 0 }],
] as const;
for (const [name, topic, value, expected] of cases) {
  test(`notify: ${name}`, () => assert.deepEqual(hearing(topic, bytesOf(value)), expected));
}

test("notify: any bytes wake nobody and disturb nobody", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (payload) => {
      assert.deepEqual(hearing(ours, payload), { woken: 0, warnings: 0 });
    }),
    { seed: 4, numRuns: 300 },
  );
});

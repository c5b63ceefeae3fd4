import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPolicy } from "./policy.ts";

const safe = { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 };

test("the safe policy needs no acknowledgement, and neither does a stricter one", () => {
  assert.deepEqual(checkPolicy(safe, false), { ok: true, policy: safe, weakened: false });
  const strict = { ...safe, requireBatteryPctMin: 80, applyWindow: { startLocal: "22:00", endLocal: "04:00" } };
  assert.deepEqual(checkPolicy(strict, false), { ok: true, policy: strict, weakened: false });
});

test("each weakened requirement needs to be meant, and is named (H1)", () => {
  for (const [field, weak] of [
    ["requireVehicleStationary", { ...safe, requireVehicleStationary: false }],
    ["denyIfAutonomousMode", { ...safe, denyIfAutonomousMode: false }],
    ["requireBatteryPctMin", { ...safe, requireBatteryPctMin: 34 }],
  ] as const) {
    assert.deepEqual(checkPolicy(weak, false), { ok: false, problem: "unacknowledged", fields: [field] });
    assert.deepEqual(checkPolicy(weak, true), { ok: true, policy: weak, weakened: true });
  }
});

test("a window without length is refused, acknowledged or not (H21)", () => {
  const never = { ...safe, applyWindow: { startLocal: "02:00", endLocal: "02:00" } };
  assert.deepEqual(checkPolicy(never, false), { ok: false, problem: "window-empty" });
  assert.deepEqual(checkPolicy(never, true), { ok: false, problem: "window-empty" });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { reasonTestsIn } from "./reason-tests.ts";

test("a test counts for the code that its title begins with", () => {
  const text = `
    test("DENY_MOVING: a vehicle that rolls is left alone", async () => {});
    test("INCOMPATIBLE_OS: the vehicle's own system decides", async () => {});
    test(
      'ROLLBACK_APPLIED: the old stack runs again',
      async () => {});
    test("no code: nothing", () => {});
    test("HEARTBEAT: one word is no code", () => {});
    // DENY_LOW_BATTERY: only said
  `;
  assert.deepEqual(reasonTestsIn("test/system/reason-codes.gates.test.ts", text), [
    {
      code: "DENY_MOVING",
      file: "test/system/reason-codes.gates.test.ts",
      title: "DENY_MOVING: a vehicle that rolls is left alone",
    },
    {
      code: "INCOMPATIBLE_OS",
      file: "test/system/reason-codes.gates.test.ts",
      title: "INCOMPATIBLE_OS: the vehicle's own system decides",
    },
    {
      code: "ROLLBACK_APPLIED",
      file: "test/system/reason-codes.gates.test.ts",
      title: "ROLLBACK_APPLIED: the old stack runs again",
    },
  ]);
});

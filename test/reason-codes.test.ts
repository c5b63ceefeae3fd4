import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { REASONS } from "@muto/spec";
import { findReasonTests } from "../spec/generator/reason-tests.ts";

const root = join(import.meta.dirname, "..");

test("every reason code is produced for real by a system test, and every such test names a code", async () => {
  const tested = new Set((await findReasonTests(root)).map(({ code }) => code));
  assert.deepEqual([...tested].toSorted(), Object.keys(REASONS).toSorted());
  assert.ok(tested.size >= 18, `only ${tested.size} codes`);
});

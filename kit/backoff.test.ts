import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { backoffMs } from "./backoff.ts";

const named = [
  { attempt: 0, fraction: 1, expected: 1_000 },
  { attempt: 0, fraction: 0, expected: 500 },
  { attempt: 1, fraction: 1, expected: 2_000 },
  { attempt: 3, fraction: 0.5, expected: 6_000 },
  { attempt: 6, fraction: 1, expected: 60_000 },
  { attempt: 1_000_000, fraction: 1, expected: 60_000 },
  { attempt: 1_000_000, fraction: 0, expected: 30_000 },
];

for (const { attempt, fraction, expected } of named) {
  void test(`attempt ${attempt} with fraction ${fraction} waits ${expected} ms`, () => {
    assert.equal(backoffMs({ attempt, fraction, baseMs: 1_000, maxMs: 60_000 }), expected);
  });
}

void test("always between half of the base and the maximum, and never shorter for a later attempt", () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 2, max: 1000 }),
      (attempt, fraction, baseMs) => {
        const maxMs = baseMs * 64;
        const wait = backoffMs({ attempt, fraction, baseMs, maxMs });
        assert.ok(wait >= baseMs / 2 && wait <= maxMs);
        assert.ok(backoffMs({ attempt: attempt + 1, fraction, baseMs, maxMs }) >= wait);
      },
    ),
  );
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judgedFromMs } from "./outage.ts";

describe("rollouts are judged", () => {
  const backMs = Date.parse("2026-06-01T12:00:00.000Z");
  for (const [situation, lastMs, waitMs] of [
    ["at once where nobody was ever heard", null, 0],
    ["at once after a restart of seconds", backMs - 8_000, 0],
    ["at once by a clock that was set back", backMs + 3_600_000, 0],
    ["at once after an outage that makes nobody look offline", backMs - 239_000, 0],
    ["a minute after an outage that may make vehicles look offline", backMs - 240_000, 60_000],
    ["a minute after an outage of hours, and no later", backMs - 7_200_000, 60_000],
  ] as const) {
    it(situation, () => assert.equal(judgedFromMs({ backMs, lastMs, offlineAfterMs: 300_000 }), backMs + waitMs));
  }

  it("sooner where silence is judged sooner", () => {
    const offlineAfterMs = 10_000;
    assert.equal(judgedFromMs({ backMs, lastMs: backMs - 4_000, offlineAfterMs }), backMs);
    assert.equal(judgedFromMs({ backMs, lastMs: backMs - 5_000, offlineAfterMs }), backMs + 10_000);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLocalHold, parseStandingConfirmation } from "@muto/spec";
import { judgeStanding, makeHold, makeStanding, STANDING_MS_MAX } from "./technician.ts";

const bootId = "6f1d0d3e-6b1c-4d5a-9a0e-3f1f6f9b2a11";
const wallMs = Date.parse("2026-06-01T10:00:00Z");
const made = { bootId, uptimeMs: 500_000.7, wallMs };
const TEN_MINUTES_MS = 600_000;

function confirmation() {
  const record = makeStanding("anna", TEN_MINUTES_MS, made);
  assert.ok(record !== undefined && parseStandingConfirmation(record).ok);
  return record;
}

/** `sec` seconds later, on a process whose own monotonic clock started elsewhere. */
function later(sec: number, changes: { readonly bootId?: string; readonly wallMs?: number } = {}) {
  const passed = sec * 1000;
  return { bootId, uptimeMs: made.uptimeMs + passed, wallMs: wallMs + passed, monotonicMs: 9_000 + passed, ...changes };
}

test("standing: it counts in the process's own monotonic time", () => {
  const standing = judgeStanding(confirmation(), later(60));
  assert.ok(standing !== null);
  assert.ok(Math.abs(standing.madeMs - 9_000) < 1);
  assert.ok(Math.abs(standing.untilMs - (9_000 + TEN_MINUTES_MS)) < 1);
  assert.equal(standing.untilWallMs, wallMs + TEN_MINUTES_MS);
});

const worthless = [
  ["over by the uptime, although the wall clock was set back", later(600, { wallMs: wallMs - 1 })],
  ["over by the wall clock, although the uptime is not", later(10, { wallMs: wallMs + TEN_MINUTES_MS })],
  ["made in another boot", later(10, { bootId: "00000000-0000-4000-8000-000000000000" })],
  ["made in the future of this boot", later(-10)],
] as const;
for (const [name, now] of worthless) {
  test(`standing: ${name}`, () => assert.equal(judgeStanding(confirmation(), now), null));
}

test("standing: a record that claims more than an hour is worth nothing", () => {
  const longer = { ...confirmation(), untilUptimeMs: 500_000 + STANDING_MS_MAX + 1 };
  assert.equal(judgeStanding(longer, later(10)), null);
  const wall = { ...confirmation(), until: "2026-06-01T11:00:01.000Z" };
  assert.equal(judgeStanding(wall, later(10)), null);
  assert.equal(judgeStanding({ ...confirmation(), until: "2026-13-01T11:00:01.000Z" }, later(10)), null);
});

test("standing: it is not made for longer than an hour, nor for no time", () => {
  for (const forMs of [0, -1, Number.NaN, STANDING_MS_MAX + 1]) {
    assert.equal(makeStanding("anna", forMs, made), undefined);
  }
  assert.ok(makeStanding("anna", STANDING_MS_MAX, made) !== undefined);
});

test("hold: what is made is a document of the contract", () => {
  assert.ok(parseLocalHold(makeHold("anna", "maintenance", wallMs)).ok);
});

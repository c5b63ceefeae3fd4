import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, timestamp } from "./clock.ts";

void test("time is written as RFC 3339 in UTC with milliseconds", () => {
  assert.equal(timestamp(0), "1970-01-01T00:00:00.000Z");
  assert.equal(timestamp(Date.UTC(2026, 1, 28, 23, 59, 59, 7)), "2026-02-28T23:59:59.007Z");
});

void test("a sleep lasts as long as it says on the clock that never runs backwards", async () => {
  const clock = systemClock();
  const begun = clock.monotonicMs();
  await clock.sleep(20);
  // Timers of the event loop may be early by a fraction of a millisecond.
  assert.ok(clock.monotonicMs() - begun >= 19);
});

void test("an aborted sleep is over at once, also when it was aborted before, and never rejects", async () => {
  const clock = systemClock();
  const abort = new AbortController();
  const sleeping = clock.sleep(3_600_000, abort.signal);
  abort.abort(new Error("enough"));
  await sleeping;
  await clock.sleep(3_600_000, abort.signal);
});

void test("a negative or zero sleep is no error", async () => {
  await systemClock().sleep(-5);
  await systemClock().sleep(0);
});

void test("wall time is the computer's", () => {
  const before = Date.now();
  const wallMs = systemClock().wallMs();
  assert.ok(wallMs >= before && wallMs <= Date.now());
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "./clock.ts";
import { createWake } from "./wake.ts";

const LONG_MS = 3_600_000;
const never = () => new AbortController().signal;

void test("a bell rung before anybody waits ends exactly one wait, however often it was rung", async () => {
  const wake = createWake(systemClock());
  wake.ring();
  wake.ring();
  assert.equal(await wake.wait(LONG_MS, never()), "rung");
  assert.equal(await wake.wait(1, never()), "elapsed");
});

void test("a bell rung during a wait ends it", async () => {
  const wake = createWake(systemClock());
  const waiting = wake.wait(LONG_MS, never());
  wake.ring();
  assert.equal(await waiting, "rung");
  assert.equal(await wake.wait(1, never()), "elapsed");
});

void test("an abort ends a wait, and a ring at the same time is kept for the next one", async () => {
  const wake = createWake(systemClock());
  const abort = new AbortController();
  const waiting = wake.wait(LONG_MS, abort.signal);
  abort.abort();
  assert.equal(await waiting, "aborted");
  wake.ring();
  assert.equal(await wake.wait(LONG_MS, abort.signal), "aborted");
  assert.equal(await wake.wait(LONG_MS, never()), "rung");
});

void test("a ring between the end of one wait and the next is not lost", async () => {
  const wake = createWake(systemClock());
  assert.equal(await wake.wait(1, never()), "elapsed");
  wake.ring();
  assert.equal(await wake.wait(LONG_MS, never()), "rung");
});

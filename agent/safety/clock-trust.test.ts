import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { judgeClock, learnFromContact, nothingKnown, type ClockNow, type TimeKnowledge } from "./clock-trust.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const issued = Date.parse("2026-06-01T00:00:00Z");
const year2099 = Date.parse("2099-01-01T00:00:00Z");

function at(wallMs: number, monotonicMs: number, bootId = "boot-1"): ClockNow {
  return { wallMs, monotonicMs, bootId, aheadMsMax: DAY_MS };
}

/** A vehicle that has just polled an assignment issued this minute. */
function contacted(wallMs: number): TimeKnowledge {
  return learnFromContact(nothingKnown, { issuedAtMs: issued, serverDateMs: issued + 1_000 }, at(wallMs, 0));
}

test("clock: with nothing known the computer's clock is all there is", () => {
  assert.deepEqual(judgeClock(nothingKnown, at(issued, 0)), { trusted: true, nowMs: issued });
});

test("clock: H20: it says 2099; expiry is judged from issuedAt plus the time since", () => {
  const known = contacted(year2099);
  assert.deepEqual(judgeClock(known, at(year2099 + HOUR_MS, HOUR_MS)), {
    trusted: false,
    problem: "ahead",
    nowMs: issued + HOUR_MS,
  });
});

test("clock: H20: it jumps to 2099 after the contact, and comes back", () => {
  const known = contacted(issued);
  assert.equal(judgeClock(known, at(year2099, HOUR_MS)).trusted, false);
  assert.deepEqual(judgeClock(known, at(issued + HOUR_MS, HOUR_MS)), { trusted: true, nowMs: issued + HOUR_MS });
});

test("clock: H20: a lying clock never raises the floor", () => {
  const known = learnFromContact(
    contacted(year2099),
    { issuedAtMs: undefined, serverDateMs: year2099 },
    at(year2099, 1),
  );
  assert.equal(known.floorMs, issued);
});

test("clock: distrust holds through a reboot until a contact agrees", () => {
  const known = contacted(year2099);
  const rebooted = at(year2099 + HOUR_MS, 5, "boot-2");
  assert.deepEqual(judgeClock(known, rebooted), { trusted: false, problem: "ahead", nowMs: issued });
  const lied = learnFromContact(known, { issuedAtMs: undefined, serverDateMs: issued + DAY_MS }, rebooted);
  assert.equal(judgeClock(lied, rebooted).trusted, false);
  const repaired = at(issued + DAY_MS, 6, "boot-2");
  const agreed = learnFromContact(known, { issuedAtMs: undefined, serverDateMs: issued + DAY_MS }, repaired);
  assert.deepEqual(judgeClock(agreed, repaired), { trusted: true, nowMs: issued + DAY_MS });
});

test("clock: an assignment that waited three weeks for the vehicle says nothing against its clock", () => {
  const threeWeeks = issued + 21 * DAY_MS;
  const known = learnFromContact(nothingKnown, { issuedAtMs: issued, serverDateMs: threeWeeks }, at(threeWeeks, 0));
  assert.deepEqual(judgeClock(known, at(threeWeeks, 0)), { trusted: true, nowMs: threeWeeks });
});

test("clock: freeze: an old assignment shown again does not hold the time back", () => {
  const known = contacted(issued);
  const later = at(issued + 30 * DAY_MS, 30 * DAY_MS);
  const replayed = learnFromContact(known, { issuedAtMs: issued, serverDateMs: issued + 1_000 }, later);
  assert.deepEqual(judgeClock(replayed, later), { trusted: true, nowMs: issued + 30 * DAY_MS });
});

test("clock: a computer that slept for a week looks ahead until its next contact", () => {
  const known = contacted(issued);
  const awake = at(issued + 7 * DAY_MS, HOUR_MS);
  assert.equal(judgeClock(known, awake).trusted, false);
  const polled = learnFromContact(known, { issuedAtMs: undefined, serverDateMs: issued + 7 * DAY_MS }, awake);
  assert.deepEqual(judgeClock(polled, awake), { trusted: true, nowMs: issued + 7 * DAY_MS });
});

test("clock: what two clocks drift apart in a day is nothing to write down, a minute of sleep is", () => {
  const known = contacted(issued);
  let learnt = known;
  const writes: number[] = [];
  for (let ms = 30_000; ms < DAY_MS; ms += 30_000) {
    // Twenty parts in a million, and a Date header that counts whole seconds.
    const serverDateMs = issued + Math.floor((ms * 1.000_02) / 1_000) * 1_000;
    const next = learnFromContact(learnt, { issuedAtMs: undefined, serverDateMs }, at(issued + ms, ms));
    if (next.anchor !== learnt.anchor) writes.push(ms);
    learnt = next;
  }
  assert.deepEqual(writes, []);
  const slept = learnFromContact(
    learnt,
    { issuedAtMs: undefined, serverDateMs: issued + DAY_MS + 90_000 },
    at(0, DAY_MS),
  );
  assert.notEqual(slept.anchor, learnt.anchor);
});

test("clock: behind the newest document it is wrong, within ten minutes it is merely imprecise", () => {
  const known = contacted(issued);
  assert.deepEqual(judgeClock(known, at(0, HOUR_MS)), { trusted: false, problem: "behind", nowMs: issued + HOUR_MS });
  assert.deepEqual(judgeClock(known, at(issued - 300_000, 0)), { trusted: true, nowMs: issued });
  assert.deepEqual(judgeClock(known, at(0, 0, "boot-2")), { trusted: false, problem: "behind", nowMs: issued });
});

test("clock: without a Date nobody knows whether a document is fresh", () => {
  const known = learnFromContact(
    nothingKnown,
    { issuedAtMs: issued, serverDateMs: undefined },
    at(issued + 5 * DAY_MS, 0),
  );
  assert.equal(known.anchor, null);
  assert.equal(judgeClock(known, at(issued + 5 * DAY_MS, 0)).trusted, true);
});

test("clock: whatever happens, the floor never falls and judged time never goes below it", () => {
  const moment = fc.record({
    issuedAtMs: fc.option(fc.integer({ min: issued - 100 * DAY_MS, max: issued + 100 * DAY_MS }), { nil: undefined }),
    serverDateMs: fc.option(fc.integer({ min: 0, max: year2099 }), { nil: undefined }),
    wallMs: fc.integer({ min: 0, max: year2099 }),
    sinceMs: fc.integer({ min: 0, max: 10 * DAY_MS }),
    reboots: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(moment, { maxLength: 12 }), (moments) => {
      let known = nothingKnown;
      let monotonicMs = 0;
      let boots = 0;
      for (const { issuedAtMs, serverDateMs, wallMs, sinceMs, reboots } of moments) {
        boots += reboots ? 1 : 0;
        monotonicMs = reboots ? 0 : monotonicMs + sinceMs;
        const now = at(wallMs, monotonicMs, `boot-${boots}`);
        const next = learnFromContact(known, { issuedAtMs, serverDateMs }, now);
        assert.ok((next.floorMs ?? 0) >= (known.floorMs ?? 0));
        assert.ok(judgeClock(next, now).nowMs >= (next.floorMs ?? 0));
        known = next;
      }
    }),
    { seed: 20, numRuns: 300 },
  );
});

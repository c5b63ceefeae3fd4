import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApplyWindow } from "@muto/spec";
import { isTimezone, judgeWindow } from "./window.ts";

const QUARTER_MS = 900_000;

function window(startLocal: string, endLocal: string): ApplyWindow {
  return { startLocal, endLocal };
}

/** Minutes of a local day during which the window is open, looking every quarter of an hour over 26 hours of UTC. */
function minutesInside(open: ApplyWindow, timezone: string, fromUtc: string, hours: number): number {
  const start = Date.parse(fromUtc);
  const looks = Array.from({ length: hours * 4 }, (_, index) =>
    judgeWindow(open, timezone, start + index * QUARTER_MS),
  );
  return looks.filter(({ kind }) => kind === "inside").length * 15;
}

const edges: readonly (readonly [string, ApplyWindow, string, "inside" | "outside"])[] = [
  ["start belongs to it", window("02:00", "05:00"), "2026-01-10T02:00:00.000Z", "inside"],
  ["the last millisecond", window("02:00", "05:00"), "2026-01-10T04:59:59.999Z", "inside"],
  ["end does not", window("02:00", "05:00"), "2026-01-10T05:00:00.000Z", "outside"],
  ["before", window("02:00", "05:00"), "2026-01-10T01:59:59.999Z", "outside"],
  ["before midnight", window("22:00", "04:00"), "2026-01-10T23:30:00Z", "inside"],
  ["after midnight", window("22:00", "04:00"), "2026-01-10T03:59:00Z", "inside"],
  ["by day, when it crosses midnight", window("22:00", "04:00"), "2026-01-10T12:00:00Z", "outside"],
  ["its end, when it crosses midnight", window("22:00", "04:00"), "2026-01-10T04:00:00Z", "outside"],
  ["until midnight", window("22:00", "00:00"), "2026-01-10T23:59:59Z", "inside"],
  ["at midnight", window("22:00", "00:00"), "2026-01-11T00:00:00Z", "outside"],
  ["H21: a window without length", window("03:00", "03:00"), "2026-01-10T03:00:00Z", "outside"],
];
for (const [name, open, at, kind] of edges) {
  test(`window: ${name}`, () => {
    assert.equal(judgeWindow(open, "UTC", Date.parse(at)).kind, kind);
  });
}

/** H21: what a clock change does to a window, in three zones; Lord Howe changes by half an hour. */
const changes: readonly (readonly [string, string, ApplyWindow, string, number])[] = [
  ["Berlin skips 02:00 to 03:00", "Europe/Berlin", window("02:00", "03:00"), "2026-03-28T12:00:00Z", 0],
  ["Berlin skips half of 02:30 to 03:30", "Europe/Berlin", window("02:30", "03:30"), "2026-03-28T12:00:00Z", 30],
  ["Berlin repeats 02:00 to 03:00", "Europe/Berlin", window("02:00", "03:00"), "2026-10-24T12:00:00Z", 120],
  ["New York skips 02:00 to 03:00", "America/New_York", window("02:00", "03:00"), "2026-03-07T18:00:00Z", 0],
  ["New York repeats 01:00 to 02:00", "America/New_York", window("01:00", "02:00"), "2026-10-31T18:00:00Z", 120],
  ["Lord Howe skips 02:00 to 02:30", "Australia/Lord_Howe", window("02:00", "02:30"), "2026-10-03T03:00:00Z", 0],
  ["Lord Howe repeats 01:30 to 02:00", "Australia/Lord_Howe", window("01:30", "02:00"), "2026-04-04T03:00:00Z", 60],
  ["Berlin on an ordinary night", "Europe/Berlin", window("23:00", "01:00"), "2026-06-10T12:00:00Z", 120],
];
for (const [name, timezone, open, from, minutes] of changes) {
  test(`window: ${name}`, () => {
    assert.equal(minutesInside(open, timezone, from, 24), minutes);
  });
}

test("window: the local time is shown as on the wall", () => {
  const judged = judgeWindow(window("02:00", "05:00"), "Australia/Lord_Howe", Date.parse("2026-06-01T13:29:00Z"));
  assert.deepEqual(judged, { kind: "outside", localTime: "23:59" });
});

test("window: an unknown zone or an impossible instant is unknown, never inside", () => {
  assert.equal(judgeWindow(window("00:00", "23:59"), "Europe/Atlantis", 0).kind, "unknown");
  assert.equal(judgeWindow(window("00:00", "23:59"), "UTC", Number.NaN).kind, "unknown");
  assert.equal(judgeWindow(window("00:00", "23:59"), "UTC", 1e18).kind, "unknown");
});

test("window: time zones are looked up, not guessed", () => {
  assert.deepEqual(["Europe/Berlin", "UTC", "Europe/Atlantis", ""].map(isTimezone), [true, true, false, false]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Drift, Evidence, ProbeReading } from "@muto/spec";
import { driftText, evidenceText, probesText } from "./probe-text.ts";

const NOW_MS = Date.parse("2026-11-24T03:06:00.000Z");
const node = { probe: "planner-there", workload: "planner", probeKind: "node" } as const;
const topic = { probe: "points-flow", workload: "lidar", probeKind: "topic" } as const;
const state = { probe: "nav-active", workload: "planner", probeKind: "lifecycle" } as const;

test("probes are a table, what is not met first, with numbers as their kind has them", () => {
  const readings: readonly ProbeReading[] = [
    { ...node, met: true, required: true, seen: true, ageMs: 900 },
    { ...state, met: false, problem: "wrong-state", required: 3, seen: 2, ageMs: 0 },
    { ...topic, met: false, problem: "too-slow", required: 10, seen: 4.2, ageMs: 40 },
    { ...topic, probe: "gone", met: false, problem: "not-seen", required: 10, seen: null, ageMs: null },
  ];
  assert.equal(
    probesText(readings),
    [
      "PROBE          KIND       WORKLOAD  MET              SEEN      NEEDED  AGE",
      "nav-active     lifecycle  planner   no: wrong-state  inactive  active  0.0 s",
      "points-flow    topic      lidar     no: too-slow     4.2 Hz    10 Hz   0.0 s",
      "gone           topic      lidar     no: not-seen     nothing   10      -",
      "planner-there  node       planner   yes              yes       yes     0.9 s",
      "",
    ].join("\n"),
  );
  assert.equal(probesText([]), "");
});

test("drift says what, where, the numbers and since when", () => {
  const since = "2026-11-24T03:00:00.000Z";
  const left: Drift = { ...node, drift: "node-left", required: true, seen: false, since, ageMs: 400 };
  assert.equal(driftText(left, NOW_MS), "node-left planner (planner-there): seen no, needed yes, since 6 min ago");
  const files: Drift = { ...left, drift: "files-changed", workload: null, probe: null };
  assert.equal(driftText(files, NOW_MS), "files-changed: seen no, needed yes, since 6 min ago");
});

test("evidence of a probe and of a gate is told in words, and any other as it is", () => {
  const slow: Evidence = {
    kind: "probe",
    reasonCode: "READINESS_TIMEOUT",
    ...topic,
    met: false,
    problem: "too-slow",
    required: 10,
    seen: 4.2,
    ageMs: 180,
    before: true,
    attempts: 40,
    waitedSec: 20,
  };
  assert.equal(
    evidenceText(slow),
    "probe points-flow (topic of lidar): too-slow, seen 4.2 Hz, needed 10 Hz, 0.2 s old; before the change it was met",
  );
  // As an agent tells it that knows less.
  const { problem: _problem, required: _required, ageMs: _ageMs, ...older } = slow;
  assert.equal(
    evidenceText({ ...older, before: false }),
    "probe points-flow (topic of lidar): not met, seen 4.2, needed nothing; before the change it was not met either",
  );
  const bare = { kind: "gate", reasonCode: "DENY_MOVING", gate: "moving", required: 0.1, seen: null } as const;
  const stale = { ...bare, signal: "speed", source: "gateway", problem: "stale", ageMs: 3500 } as const;
  assert.equal(evidenceText(stale), "speed from gateway: stale, 3.5 s old");
  assert.equal(evidenceText({ ...bare, seen: 0.5, ageMs: 40 }), "moving: seen 0.5, needed 0.1, 0.0 s old");
  assert.equal(evidenceText({ ...bare, ageMs: null }), "moving: missing");
  const digest = `sha256:${"a".repeat(64)}`;
  const other: Evidence = { kind: "rollback", reasonCode: "ROLLBACK_APPLIED", from: digest, to: null };
  assert.equal(evidenceText(other), JSON.stringify(other));
});

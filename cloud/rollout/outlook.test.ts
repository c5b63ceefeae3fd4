import assert from "node:assert/strict";
import { test } from "node:test";
import type { RolloutSettings } from "@muto/spec";
import type { Cohort, RolloutFacts } from "./facts.ts";
import { noReasons } from "./gate.ts";
import { decide } from "./machine.ts";
import { dashboardOf, outlookOf } from "./outlook.ts";

const NOW = 5_000_000;
const settings: RolloutSettings = {
  canaryPerGroup: 1,
  wavePercent: 100,
  maxInFlight: 10,
  convergedPercentMin: 97,
  soakSec: 60,
  watchSec: 60,
  stageDeadlineSec: 1000,
  blockedMaxAgeSec: 1000,
  startBeforeSec: 3600,
  limits: { crashLoops: 0, readinessTimeouts: 1, signatureFailures: 0 },
};

const canary: Cohort = {
  cast: "canary",
  assigned: true,
  terminal: "converged",
  latest: "converged",
  online: true,
  holds: "allowed",
  begun: false,
  barred: false,
  members: 1,
  reasons: noReasons(),
  blockedSinceMs: null,
  lastSeenMs: NOW,
};
const waiting: Cohort = { ...canary, cast: "wave", assigned: false, terminal: null, latest: null, holds: "nothing" };

function facts(more: Partial<RolloutFacts>): RolloutFacts {
  return {
    status: "active",
    stage: "canary",
    pause: null,
    accepted: false,
    withdrawn: false,
    restored: false,
    settings,
    planned: { canary: 1, wave: 1 },
    cohorts: [canary, waiting],
    returns: { converged: 0, failed: 0, open: 1, offline: 0, without: 0, lastSeenMs: NOW },
    clockFromMs: NOW - 1000,
    soakUntilMs: NOW + 30,
    watchUntilMs: NOW + 60,
    offlineAfterMs: 300_000,
    nowMs: NOW,
    ...more,
  };
}

const deadline = NOW - 1000 + 1_000_000;
const outlooks: readonly (readonly [facts: Partial<RolloutFacts>, step: string, atMs: number | null])[] = [
  [{}, "judge-canaries", deadline],
  [{ stage: "soak" }, "end-soak", NOW + 30],
  [{ stage: "soak", soakUntilMs: NOW }, "start-wave", NOW],
  [{ stage: "wave" }, "judge-wave", deadline],
  [{ stage: "watch" }, "end-watch", NOW + 60],
  [{ status: "rolling_back" }, "finish-rollback", deadline],
  [{ status: "paused", pause: "operator" }, "nothing", null],
  [{ status: "completed", stage: "watch" }, "nothing", null],
  [{ status: "rolled_back" }, "nothing", null],
];
for (const [given, step, atMs] of outlooks) {
  test(`next: ${given.status ?? "active"} ${given.stage ?? "canary"} says ${step}`, () => {
    const all = facts(given);
    assert.deepEqual(outlookOf(all, decide(all)), { step, atMs });
  });
}

test("the dashboard says yes, no, or not yet", () => {
  const at = (more: Partial<RolloutFacts>) => {
    const all = facts(more);
    return dashboardOf(all, decide(all));
  };
  const checks = (more: Partial<RolloutFacts>) => at(more).safetyChecks.map(({ passed }) => passed);
  const open: Cohort = { ...canary, terminal: null, latest: "applying" };
  const looping = { ...noReasons(), CRASH_LOOP_DETECTED: 1, READINESS_TIMEOUT: 1 };
  assert.equal(at({}).failureThreshold, 3);
  assert.deepEqual([at({}).canaryHealthy, ...checks({})], [true, true, true, true, true]);
  const undecided = { cohorts: [open, waiting] };
  assert.deepEqual([at(undecided).canaryHealthy, ...checks(undecided)], [null, null, null, null, null]);
  const bad = { cohorts: [{ ...open, reasons: looping }, waiting] };
  assert.deepEqual([at(bad).canaryHealthy, ...checks(bad)], [false, null, false, null, null]);
  const failed = { cohorts: [{ ...canary, terminal: "failed" as const }, waiting] };
  assert.deepEqual([at(failed).canaryHealthy, ...checks(failed)], [false, false, null, null, null]);
});

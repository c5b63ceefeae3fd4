import assert from "node:assert/strict";
import { test } from "node:test";
import type { RolloutSettings } from "@muto/spec";
import type { Cohort, ReturnFacts, RolloutFacts } from "./facts.ts";
import { noReasons } from "./gate.ts";
import { decide } from "./machine.ts";
import type { Step } from "./machine.ts";

const NOW = 1_000_000_000;
const DAY = 24 * 3600 * 1000;

const settings: RolloutSettings = {
  canaryPerGroup: 1,
  wavePercent: 100,
  maxInFlight: 3,
  convergedPercentMin: 95,
  soakSec: 600,
  watchSec: 86_400,
  stageDeadlineSec: 7 * 86_400,
  blockedMaxAgeSec: 3 * 86_400,
  startBeforeSec: 3 * 86_400,
  limits: { crashLoops: 0, readinessTimeouts: 0, signatureFailures: 0 },
};

const nobodyReturns: ReturnFacts = { converged: 0, failed: 0, open: 0, offline: 0, without: 0, lastSeenMs: null };

function cohort(more: Partial<Cohort>): Cohort {
  const terminal = more.terminal ?? null;
  return {
    cast: "canary",
    assigned: more.holds !== "nothing",
    terminal,
    latest: terminal,
    online: true,
    holds: "allowed",
    begun: false,
    barred: false,
    members: 1,
    reasons: noReasons(),
    blockedSinceMs: null,
    lastSeenMs: NOW - 1000,
    ...more,
  };
}

function facts(more: Partial<RolloutFacts>): RolloutFacts {
  const cohorts = more.cohorts ?? [];
  const planned = (cast: Cohort["cast"]) =>
    cohorts.reduce((sum, each) => (each.cast === cast ? sum + each.members : sum), 0);
  return {
    status: "active",
    stage: "canary",
    pause: null,
    accepted: false,
    withdrawn: false,
    restored: false,
    settings,
    planned: { canary: planned("canary"), wave: planned("wave") },
    cohorts,
    returns: nobodyReturns,
    clockFromMs: NOW - 1000,
    soakUntilMs: null,
    watchUntilMs: null,
    offlineAfterMs: 300_000,
    nowMs: NOW,
    ...more,
  };
}

const wave = (more: Partial<Cohort>) => cohort({ cast: "wave", ...more });
const waiting = { holds: "nothing", assigned: false } as const;
const converged = { terminal: "converged" } as const;
const rolledBack = { terminal: "rolled_back" } as const;
const blocked = { latest: "blocked", blockedSinceMs: NOW - 500 } as const;
const crashLoop = { ...noReasons(), CRASH_LOOP_DETECTED: 1 };
const deadline = NOW - 1000 + 7 * DAY;
const overdue = { clockFromMs: NOW - 8 * DAY };

const situations: readonly (readonly [name: string, facts: Partial<RolloutFacts>, step: Step])[] = [
  // ── canary ──
  ["begins with its canaries", { cohorts: [cohort(waiting), wave(waiting)] }, { kind: "assignCanaries" }],
  [
    "waits for the canaries, at most until the deadline",
    { cohorts: [cohort({}), wave(waiting)] },
    { kind: "wait", wakeAtMs: deadline },
  ],
  [
    "soaks when the canaries converged",
    { cohorts: [cohort(converged), wave(waiting)] },
    { kind: "startSoak", untilMs: NOW + 600_000 },
  ],
  [
    "turns back when a canary rolled back",
    { cohorts: [cohort(rolledBack), wave(waiting)] },
    { kind: "rollBack", reason: { cause: "gate", cast: "canary", rule: "cannot-pass" } },
  ],
  [
    "turns back at a crash loop before the answer",
    { cohorts: [cohort({ latest: "applying", begun: true, reasons: crashLoop }), wave(waiting)] },
    { kind: "rollBack", reason: { cause: "gate", cast: "canary", rule: "reason-limit" } },
  ],
  [
    "asks a person when a canary stays out of reach until the deadline",
    { ...overdue, cohorts: [cohort({ online: false }), wave(waiting)] },
    { kind: "pauseInconclusive", cast: "canary", rule: "stage-deadline" },
  ],
  [
    "asks a person when a canary has been blocked for more than three days",
    { clockFromMs: NOW - 4 * DAY, cohorts: [cohort({ latest: "blocked", blockedSinceMs: NOW - 4 * DAY })] },
    { kind: "pauseInconclusive", cast: "canary", rule: "blocked-too-long" },
  ],
  [
    "counts blocked from the moment a person resumed",
    { cohorts: [cohort({ latest: "blocked", blockedSinceMs: NOW - 4 * DAY })] },
    { kind: "wait", wakeAtMs: NOW - 1000 + 3 * DAY + 1 },
  ],
  [
    "asks a person when every canary was taken out of the fleet",
    { planned: { canary: 1, wave: 1 }, cohorts: [wave(waiting)] },
    { kind: "pauseInconclusive", cast: "canary", rule: "waiting" },
  ],
  [
    "goes on when a person accepts the canaries",
    { accepted: true, cohorts: [cohort({ online: false }), wave(waiting)] },
    { kind: "startSoak", untilMs: NOW + 600_000 },
  ],
  [
    "lets withheld canaries start again after a resume",
    { cohorts: [cohort({ holds: "withheld" }), wave(waiting)] },
    { kind: "assignCanaries" },
  ],
  [
    "assigns nothing where two installations answer for a vehicle (H19)",
    { cohorts: [cohort({ ...waiting, barred: true }), wave(waiting)] },
    { kind: "wait", wakeAtMs: deadline },
  ],
  [
    "ends at once when everybody has the release already",
    { planned: { canary: 0, wave: 0 } },
    { kind: "complete", outcome: "clean" },
  ],
  [
    "turns back when the release is withdrawn",
    { withdrawn: true, cohorts: [cohort(converged)] },
    { kind: "rollBack", reason: { cause: "withdrawn" } },
  ],
  // ── soak ──
  [
    "does not start the wave before the soak is over",
    { stage: "soak", soakUntilMs: NOW + 1, cohorts: [cohort(converged), wave(waiting)] },
    { kind: "wait", wakeAtMs: NOW + 1 },
  ],
  [
    "starts the wave when it is",
    { stage: "soak", soakUntilMs: NOW, cohorts: [cohort(converged), wave(waiting)] },
    { kind: "startWave" },
  ],
  [
    "turns back when a canary fails during the soak",
    { stage: "soak", soakUntilMs: NOW + 1, cohorts: [cohort({ ...rolledBack, reasons: crashLoop }), wave(waiting)] },
    { kind: "rollBack", reason: { cause: "gate", cast: "canary", rule: "reason-limit" } },
  ],
  // ── wave ──
  [
    "assigns no more than maxInFlight",
    { stage: "wave", cohorts: [cohort(converged), wave({ ...waiting, members: 10 })] },
    { kind: "assignWave", onlineMax: 3 },
  ],
  [
    "counts those on their way, the blocked among them",
    {
      stage: "wave",
      cohorts: [cohort(converged), wave({ ...waiting, members: 10 }), wave(blocked), wave({ latest: "applying" })],
    },
    { kind: "assignWave", onlineMax: 1 },
  ],
  [
    "waits when the pacing is full",
    { stage: "wave", cohorts: [cohort(converged), wave({ ...waiting, members: 10 }), wave({ members: 3 })] },
    { kind: "wait", wakeAtMs: NOW - 1000 + 300_001 },
  ],
  [
    "gives those out of reach theirs even then, so that a short contact is enough",
    {
      stage: "wave",
      cohorts: [cohort(converged), wave({ ...waiting, online: false, members: 9 }), wave({ members: 3 })],
    },
    { kind: "assignWave", onlineMax: 0 },
  ],
  [
    "is not held up by members out of reach",
    { stage: "wave", cohorts: [cohort(converged), wave({ ...converged, members: 2 }), wave({ online: false })] },
    { kind: "startWatch", untilMs: NOW + DAY },
  ],
  [
    "with nobody in the wave goes on to the watch",
    { stage: "wave", cohorts: [cohort(converged)] },
    { kind: "startWatch", untilMs: NOW + DAY },
  ],
  [
    "turns back when a canary fails during the wave",
    { stage: "wave", cohorts: [cohort(rolledBack), wave({ members: 3 })] },
    { kind: "rollBack", reason: { cause: "gate", cast: "canary", rule: "cannot-pass" } },
  ],
  [
    "turns back before the rest of the wave is assigned",
    { stage: "wave", cohorts: [cohort(converged), wave(rolledBack), wave({ ...waiting, members: 9 })] },
    { kind: "rollBack", reason: { cause: "gate", cast: "wave", rule: "cannot-pass" } },
  ],
  [
    "does not ask about canaries that answered long ago",
    { ...overdue, stage: "wave", cohorts: [cohort(converged), wave(converged)] },
    { kind: "startWatch", untilMs: NOW + DAY },
  ],
  [
    "asks a person when the wave's deadline passes",
    { ...overdue, stage: "wave", cohorts: [cohort(converged), wave(converged), wave({ latest: "applying" })] },
    { kind: "pauseInconclusive", cast: "wave", rule: "stage-deadline" },
  ],
  [
    "accepted, blocked members no longer hold up the others",
    {
      stage: "wave",
      accepted: true,
      cohorts: [cohort(converged), wave({ ...blocked, members: 3 }), wave({ ...waiting, members: 9 })],
    },
    { kind: "assignWave", onlineMax: 3 },
  ],
  [
    "accepted and all assigned, goes on",
    { stage: "wave", accepted: true, cohorts: [cohort(converged), wave({ ...blocked, members: 3 })] },
    { kind: "startWatch", untilMs: NOW + DAY },
  ],
  [
    "accepted, but overdue again with members left to assign, asks again",
    {
      ...overdue,
      stage: "wave",
      accepted: true,
      cohorts: [cohort(converged), wave({ members: 3 }), wave({ ...waiting, members: 9 })],
    },
    { kind: "pauseInconclusive", cast: "wave", rule: "stage-deadline" },
  ],
  // ── watch ──
  [
    "watches until its end",
    { stage: "watch", watchUntilMs: NOW + 1, cohorts: [cohort(converged), wave(converged)] },
    { kind: "wait", wakeAtMs: NOW + 1 },
  ],
  [
    "completes clean",
    { stage: "watch", watchUntilMs: NOW, cohorts: [cohort(converged), wave({ ...converged, members: 19 })] },
    { kind: "complete", outcome: "clean" },
  ],
  [
    "names stragglers when fewer than 95 % of all converged",
    { stage: "watch", watchUntilMs: NOW, cohorts: [cohort(converged), wave(converged), wave({ online: false })] },
    { kind: "complete", outcome: "stragglers" },
  ],
  [
    "turns back when a member fails during the watch",
    { stage: "watch", watchUntilMs: NOW + 1, cohorts: [cohort(converged), wave(rolledBack)] },
    { kind: "rollBack", reason: { cause: "gate", cast: "wave", rule: "cannot-pass" } },
  ],
  [
    "failures after the watch alert only (H11)",
    { status: "completed", stage: "watch", cohorts: [cohort(rolledBack), wave({ ...rolledBack, reasons: crashLoop })] },
    { kind: "wait", wakeAtMs: null },
  ],
  // ── paused ──
  [
    "paused, withholds who has not begun (H10)",
    { status: "paused", pause: "operator", stage: "wave", cohorts: [cohort(converged), wave(blocked)] },
    { kind: "withhold" },
  ],
  [
    "paused, lets those who have begun finish",
    { status: "paused", pause: "operator", stage: "wave", cohorts: [cohort(converged), wave({ begun: true })] },
    { kind: "wait", wakeAtMs: null },
  ],
  [
    "paused, does not try for ever to tell a vehicle that cannot be told (H19)",
    { status: "paused", pause: "operator", stage: "wave", cohorts: [cohort(converged), wave({ barred: true })] },
    { kind: "wait", wakeAtMs: null },
  ],
  [
    "paused, assigns nobody",
    { status: "paused", pause: "operator", stage: "wave", cohorts: [cohort(converged), wave(waiting)] },
    { kind: "wait", wakeAtMs: null },
  ],
  [
    "paused, still turns back when the gate fails",
    { status: "paused", pause: "operator", stage: "wave", cohorts: [cohort(converged), wave(rolledBack)] },
    { kind: "rollBack", reason: { cause: "gate", cast: "wave", rule: "cannot-pass" } },
  ],
  [
    "a restored database stops even that (H16)",
    { status: "paused", pause: "restored-database", stage: "wave", cohorts: [cohort(converged), wave(rolledBack)] },
    { kind: "wait", wakeAtMs: null },
  ],
  [
    "a database that is older than the world pauses everything",
    { restored: true, stage: "wave", cohorts: [cohort(converged), wave(rolledBack)] },
    { kind: "pauseRestored" },
  ],
  [
    "and leaves what is paused alone, whatever its gate says",
    { restored: true, status: "paused", pause: "operator", stage: "wave", cohorts: [wave(rolledBack), wave(blocked)] },
    { kind: "wait", wakeAtMs: null },
  ],
  // ── rolling back ──
  [
    "waits for those on the way back",
    { status: "rolling_back", returns: { ...nobodyReturns, open: 1, lastSeenMs: NOW - 1000 } },
    { kind: "wait", wakeAtMs: NOW - 1000 + 300_001 },
  ],
  [
    "is rolled back when all have answered",
    { status: "rolling_back", returns: { ...nobodyReturns, converged: 4 } },
    { kind: "finishRollback", outcome: "clean" },
  ],
  [
    "lists those out of reach as stragglers",
    { status: "rolling_back", returns: { ...nobodyReturns, converged: 4, offline: 1 } },
    { kind: "finishRollback", outcome: "stragglers" },
  ],
  [
    "does not call it rolled back while nobody has answered",
    { status: "rolling_back", returns: { ...nobodyReturns, offline: 2 } },
    { kind: "wait", wakeAtMs: deadline },
  ],
  [
    "but does not wait for ever",
    { ...overdue, status: "rolling_back", returns: { ...nobodyReturns, offline: 2 } },
    { kind: "finishRollback", outcome: "stragglers" },
  ],
  [
    "is over at once when there was nothing to take back",
    { status: "rolling_back" },
    { kind: "finishRollback", outcome: "clean" },
  ],
  [
    "never turns forward again",
    { status: "rolling_back", cohorts: [cohort(waiting), wave(waiting)], returns: { ...nobodyReturns, open: 1 } },
    { kind: "wait", wakeAtMs: deadline },
  ],
  [
    "is over when it is rolled back",
    { status: "rolled_back", cohorts: [cohort(waiting)] },
    { kind: "wait", wakeAtMs: null },
  ],
];

for (const [name, given, step] of situations) {
  test(`rollout: ${name}`, () => assert.deepEqual(decide(facts(given)).step, step));
}

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RolloutOutcome, RolloutPause, RolloutStage, RolloutStatus } from "@muto/spec";
import { memberTotal } from "./classify.ts";
import type { ReportStatus, TerminalStatus } from "./classify.ts";
import { answerCommand } from "./commands.ts";
import type { Command } from "./commands.ts";
import type { Cohort, Holding, RolloutFacts } from "./facts.ts";
import { noReasons } from "./gate.ts";
import type { Cast } from "./gate.ts";
import { decide } from "./machine.ts";
import type { Step } from "./machine.ts";

/*
 * A fleet in memory under random weather: vehicles answer, fail, go away and come back, people pause, resume, abort and
 * roll back, and the control plane dies between any two steps. What must never happen is asserted where it would happen.
 */

const OFFLINE_AFTER = 300_000;

interface Member {
  readonly cast: Cast;
  holds: Holding;
  assigned: boolean;
  /** What the vehicle itself knows: it may start only what it has heard of. */
  heard: Holding;
  begun: boolean;
  reportedBegun: boolean;
  latest: ReportStatus | null;
  terminal: TerminalStatus | null;
  crashed: boolean;
  blockedSinceMs: number | null;
  lastSeenMs: number;
  allowedTimes: number;
}

interface World {
  status: RolloutStatus;
  stage: RolloutStage;
  outcome: RolloutOutcome | null;
  pause: RolloutPause["cause"] | null;
  accepted: boolean;
  withdrawn: boolean;
  returning: Cast[] | null;
  clockFromMs: number;
  soakUntilMs: number | null;
  watchUntilMs: number | null;
  nowMs: number;
  readonly members: Member[];
  canaryPassed: boolean;
  turnedBack: boolean;
}

function newWorld(canaries: number, others: number): World {
  const member = (cast: Cast): Member => ({
    cast,
    holds: "nothing",
    assigned: false,
    heard: "nothing",
    begun: false,
    reportedBegun: false,
    latest: null,
    terminal: null,
    crashed: false,
    blockedSinceMs: null,
    lastSeenMs: 0,
    allowedTimes: 0,
  });
  return {
    status: "active",
    stage: "canary",
    outcome: null,
    pause: null,
    accepted: false,
    withdrawn: false,
    returning: null,
    clockFromMs: 0,
    soakUntilMs: null,
    watchUntilMs: null,
    nowMs: 0,
    members: [
      ...Array.from({ length: canaries }, () => member("canary")),
      ...Array.from({ length: others }, () => member("wave")),
    ],
    canaryPassed: false,
    turnedBack: false,
  };
}

const isOnline = (world: World, member: Member) => world.nowMs - member.lastSeenMs <= OFFLINE_AFTER;

function factsOf(world: World): RolloutFacts {
  const cohorts: Cohort[] = world.members.map((member) => ({
    cast: member.cast,
    assigned: member.assigned,
    terminal: member.terminal,
    latest: member.latest,
    online: isOnline(world, member),
    holds: member.holds,
    begun: member.reportedBegun,
    barred: false,
    members: 1,
    reasons: { ...noReasons(), CRASH_LOOP_DETECTED: member.crashed ? 1 : 0 },
    blockedSinceMs: member.blockedSinceMs,
    lastSeenMs: member.lastSeenMs,
  }));
  const returning = world.members.filter((member) => member.holds === "return");
  const size = (cast: Cast) => world.members.filter((member) => member.cast === cast).length;
  return {
    ...world,
    settings: {
      canaryPerGroup: 1,
      wavePercent: 100,
      maxInFlight: 2,
      convergedPercentMin: 95,
      soakSec: 60,
      watchSec: 600,
      stageDeadlineSec: 3600,
      blockedMaxAgeSec: 1800,
      startBeforeSec: 3600,
      limits: { crashLoops: 0, readinessTimeouts: 0, signatureFailures: 0 },
    },
    planned: { canary: size("canary"), wave: size("wave") },
    cohorts,
    returns: {
      converged: 0,
      failed: 0,
      open: returning.filter((member) => isOnline(world, member)).length,
      offline: returning.filter((member) => !isOnline(world, member)).length,
      without: 0,
      lastSeenMs: null,
    },
    offlineAfterMs: OFFLINE_AFTER,
    restored: false,
  };
}

/** Assigns the release, and asserts what must hold for every single vehicle that it reaches. */
function assign(world: World, member: Member): void {
  assert.equal(world.status, "active", "nobody is assigned while the rollout is halted");
  assert.equal(world.turnedBack, false, "nobody is assigned after the rollout turned back");
  assert.equal(world.withdrawn, false, "a withdrawn release is never assigned");
  if (member.cast === "wave") assert.ok(world.canaryPassed, "nobody of the wave before the canaries' gate");
  if (member.cast === "wave") assert.notEqual(world.stage, "canary");
  assert.notEqual(member.holds, "allowed", "nobody is assigned twice");
  assert.notEqual(member.holds, "return", "nobody who was sent back is assigned again");
  assert.equal(member.terminal, null, "nobody who has answered is assigned again");
  member.holds = "allowed";
  member.assigned = true;
  member.allowedTimes++;
}

function withhold(world: World): void {
  for (const member of world.members) {
    if (member.holds === "allowed" && member.terminal === null && !member.reportedBegun) member.holds = "withheld";
  }
}

function sendBack(world: World, casts: readonly Cast[]): void {
  world.status = "rolling_back";
  world.outcome = null;
  world.pause = null;
  world.turnedBack = true;
  world.returning = [...new Set([...(world.returning ?? []), ...casts])];
  for (const member of world.members) {
    if (member.assigned && casts.includes(member.cast)) member.holds = "return";
  }
  withhold(world);
}

/** One step as the database would take it: all of it or nothing. */
function perform(world: World, step: Step): void {
  const toAssign = (cast: Cast) =>
    world.members.filter(
      (member) =>
        member.cast === cast && member.terminal === null && (member.holds === "nothing" || member.holds === "withheld"),
    );
  switch (step.kind) {
    case "assignCanaries":
      for (const member of toAssign("canary")) assign(world, member);
      return;
    case "startSoak":
      world.canaryPassed = true;
      world.stage = "soak";
      world.soakUntilMs = step.untilMs;
      return;
    case "startWave":
      assert.equal(world.stage, "soak", "no stage is skipped");
      assert.ok(world.soakUntilMs !== null && world.nowMs >= world.soakUntilMs, "the soak is not cut short");
      world.stage = "wave";
      world.accepted = false;
      world.clockFromMs = world.nowMs;
      return;
    case "assignWave": {
      const within = toAssign("wave").filter((member) => isOnline(world, member));
      const beyond = toAssign("wave").filter((member) => !isOnline(world, member));
      for (const member of [...within.slice(0, step.onlineMax), ...beyond]) assign(world, member);
      return;
    }
    case "startWatch":
      assert.equal(world.stage, "wave", "no stage is skipped");
      assert.equal(toAssign("wave").length, 0, "the watch begins when everybody has been given the release");
      world.stage = "watch";
      world.accepted = false;
      world.watchUntilMs = step.untilMs;
      return;
    case "complete":
      assert.equal(world.stage, "watch", "no stage is skipped");
      world.status = "completed";
      world.outcome = step.outcome;
      return;
    case "pauseInconclusive":
      world.status = "paused";
      world.pause = "inconclusive";
      withhold(world);
      return;
    case "pauseRestored":
      return assert.fail("no database is restored here");
    case "withhold":
      withhold(world);
      return;
    case "rollBack":
      sendBack(world, ["canary", "wave"]);
      return;
    case "finishRollback":
      world.status = "rolled_back";
      world.outcome = step.outcome;
      return;
    case "wait":
      return;
  }
}

function command(world: World, given: Command): void {
  const { verdicts } = decide(factsOf(world));
  const count = (cast: Cast) => world.members.filter((member) => member.cast === cast && member.assigned).length;
  const answer = answerCommand(given, {
    ...world,
    given: { canary: count("canary"), wave: count("wave") },
    verdicts,
  });
  if (answer.kind !== "do") return;
  switch (given.kind) {
    case "pause":
      world.status = "paused";
      world.pause = "operator";
      withhold(world);
      return;
    case "resume":
      if (given.how === "replaceCanaries") return;
      world.status = "active";
      world.pause = null;
      world.clockFromMs = world.nowMs;
      world.accepted = given.how === "acceptInconclusive";
      if (world.accepted && world.stage === "canary") world.canaryPassed = true;
      return;
    case "abort":
    case "supersede":
      world.status = "completed";
      world.outcome = given.kind === "abort" ? "aborted" : "superseded";
      world.turnedBack = true;
      withhold(world);
      return;
    case "rollback":
      sendBack(world, given.cast === null ? ["canary", "wave"] : [given.cast]);
      return;
  }
}

type Weather =
  | { readonly kind: "command"; readonly command: Command }
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "hear" | "begin" | "block" | "silence"; readonly who: number }
  | { readonly kind: "answer"; readonly who: number; readonly status: TerminalStatus; readonly crashed: boolean }
  | { readonly kind: "withdraw" }
  /** Everybody hears, begins and converges. */
  | { readonly kind: "fair" }
  /** The control plane takes so many steps, then dies; what it had decided and not done is forgotten. */
  | { readonly kind: "steps"; readonly count: number };

function happen(world: World, weather: Weather): void {
  const member = "who" in weather ? world.members[weather.who % world.members.length] : undefined;
  switch (weather.kind) {
    case "command":
      command(world, weather.command);
      return;
    case "time":
      world.nowMs += weather.ms;
      return;
    case "withdraw":
      world.withdrawn = true;
      return;
    case "fair":
      for (const index of world.members.keys()) {
        happen(world, { kind: "hear", who: index });
        happen(world, { kind: "begin", who: index });
        happen(world, { kind: "answer", who: index, status: "converged", crashed: false });
      }
      return;
    case "steps":
      for (let count = 0; count < weather.count; count++) perform(world, decide(factsOf(world)).step);
      return;
    case "silence":
      if (member !== undefined) member.lastSeenMs = world.nowMs - OFFLINE_AFTER - 1;
      return;
    case "hear":
      if (member === undefined) return;
      member.lastSeenMs = world.nowMs;
      member.heard = member.holds;
      return;
    case "begin":
      if (member?.heard !== "allowed" || member.terminal !== null) return;
      member.begun = true;
      member.reportedBegun = true;
      member.latest = "applying";
      member.lastSeenMs = world.nowMs;
      return;
    case "block":
      if (member?.heard !== "allowed" || member.begun || member.terminal !== null) return;
      member.blockedSinceMs ??= world.nowMs;
      member.latest = "blocked";
      member.lastSeenMs = world.nowMs;
      return;
    case "answer":
      if (member?.begun !== true) return;
      member.terminal = weather.status;
      member.latest = weather.status;
      member.crashed ||= weather.crashed;
      member.lastSeenMs = world.nowMs;
      return;
  }
}

const who = fc.nat({ max: 20 });
const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  fc.constant<Command>({ kind: "pause" }),
  fc.record({
    kind: fc.constant("resume" as const),
    how: fc.constantFrom("wait" as const, "acceptInconclusive" as const),
  }),
  fc.constant<Command>({ kind: "abort" }),
  fc.record({
    kind: fc.constant("rollback" as const),
    cast: fc.constantFrom(null, "canary" as const, "wave" as const),
  }),
);
const anyWeather: fc.Arbitrary<Weather> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("hear" as const, "begin" as const), who }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("block" as const, "silence" as const), who }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      who,
      status: fc.constantFrom("converged" as const, "converged" as const, "converged" as const, "rolled_back" as const),
      crashed: fc.constant(false),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("time" as const), ms: fc.constantFrom(1000, 60_000, 1_900_000) }),
  },
  { weight: 8, arbitrary: fc.constant<Weather>({ kind: "fair" }) },
  { weight: 1, arbitrary: fc.constant<Weather>({ kind: "withdraw" }) },
  { weight: 1, arbitrary: anyCommand.map((given) => ({ kind: "command" as const, command: given })) },
);

test("whatever happens, nobody gets a release before its gate, twice, or after a halt", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 }),
      fc.integer({ min: 0, max: 5 }),
      fc.array(anyWeather, { minLength: 20, maxLength: 90 }),
      (canaries, others, days) => {
        const world = newWorld(canaries, others);
        for (const weather of days) {
          happen(world, weather);
          const { verdicts } = decide(factsOf(world));
          const counted = memberTotal(verdicts.canary.counts) + others;
          assert.equal(counted, world.members.length, "every member is counted once");
          if (verdicts.wave !== null) assert.equal(memberTotal(verdicts.wave.counts), others);
          seen.add(`${world.status} ${world.stage}`);
        }
      },
    ),
    { numRuns: 1500, seed: 20261123 },
  );
  for (const state of ["active canary", "active soak", "active wave", "active watch", "completed watch"]) {
    assert.ok(seen.has(state), `${state} was reached`);
  }
  for (const state of ["paused canary", "paused wave", "rolling_back canary", "rolled_back wave", "completed canary"]) {
    assert.ok(seen.has(state), `${state} was reached`);
  }
});

test("when the weather clears, every rollout ends or waits for a person", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 }),
      fc.integer({ min: 0, max: 5 }),
      fc.array(anyWeather, { maxLength: 40 }),
      (canaries, others, days) => {
        const world = newWorld(canaries, others);
        for (const weather of days) happen(world, weather);
        for (let round = 0; round < 40; round++) {
          happen(world, { kind: "steps", count: 5 });
          happen(world, { kind: "fair" });
          happen(world, { kind: "time", ms: 60_000 });
          // Whoever was sent back has arrived.
          for (const member of world.members) if (member.holds === "return") member.holds = "other";
        }
        assert.notEqual(world.status, "active");
        assert.notEqual(world.status, "rolling_back");
      },
    ),
    { numRuns: 500, seed: 20261124 },
  );
});

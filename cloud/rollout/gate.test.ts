import assert from "node:assert/strict";
import { test } from "node:test";
import { MEMBER_CLASSES, noMembers } from "./classify.ts";
import type { ClassCounts } from "./classify.ts";
import type { MemberClass } from "@muto/spec";
import { isConverged, isEmptied, judge, nextJudgementMs, noReasons, STOPPING_REASONS } from "./gate.ts";
import type { Cast, GateFacts, GateLimits, GateOutcome, GateRule, ReasonCounts } from "./gate.ts";

const NOW = 1_000_000;
const limits: GateLimits = {
  convergedPctMin: 95,
  reasonsMax: noReasons(),
  deadlineAtMs: NOW + 1,
  blockedMaxAgeMs: 100,
};

function stage(counts: Partial<ClassCounts>, more: Partial<GateFacts> = {}): GateFacts {
  const all = { ...noMembers(), ...counts };
  const planned = Object.values(all).reduce((sum, count) => sum + count, 0);
  return { cast: "canary", planned, counts: all, reasons: noReasons(), blockedSinceMs: null, ...more };
}

/** The five rules of the design, said again from a list of members and with exact fractions, as slowly as need be. */
function naive(members: readonly MemberClass[], facts: GateFacts, gate: GateLimits, nowMs: number): GateOutcome {
  const having = (...names: MemberClass[]) => members.filter((member) => names.includes(member));
  const answered = having("converged", "failed", "rolledBack");
  for (const code of STOPPING_REASONS) if (facts.reasons[code] > gate.reasonsMax[code]) return "fail";
  const couldStillConverge = members.length - having("failed", "rolledBack").length;
  if (members.length > 0 && couldStillConverge / members.length < 19 / 20) return "fail";
  if (members.length === 0) {
    if (facts.planned === 0) return "pass";
  } else {
    const everybody = facts.cast === "canary" ? members : members.filter((member) => member !== "offline");
    const allAnswered = everybody.every((member) => answered.includes(member));
    if (allAnswered && answered.length > 0 && having("converged").length / answered.length >= 19 / 20) return "pass";
  }
  if (nowMs >= (gate.deadlineAtMs ?? Infinity)) return "inconclusive";
  if (facts.blockedSinceMs !== null && nowMs - facts.blockedSinceMs > (gate.blockedMaxAgeMs ?? Infinity))
    return "inconclusive";
  return "pending";
}

function* combinations(membersMax: number): Generator<ClassCounts> {
  function* fill(left: number, names: readonly MemberClass[], counts: ClassCounts): Generator<ClassCounts> {
    const [name, ...rest] = names;
    if (name === undefined) yield counts;
    else for (let count = 0; count <= left; count++) yield* fill(left - count, rest, { ...counts, [name]: count });
  }
  yield* fill(membersMax, MEMBER_CLASSES, noMembers());
}

test("the gate agrees with its five rules for every stage of up to six members", () => {
  const excesses: readonly ReasonCounts[] = [
    noReasons(),
    ...STOPPING_REASONS.map((code) => ({ ...noReasons(), [code]: 1 })),
    { ...noReasons(), READINESS_TIMEOUT: 2 },
  ];
  const deadlines = [NOW, NOW + 1];
  const blockedSince = [null, NOW - 100, NOW - 101];
  const stages: readonly Cast[] = ["canary", "wave"];
  const seen = new Map<string, number>();
  for (const counts of combinations(6)) {
    const members = MEMBER_CLASSES.flatMap((name) => Array.from({ length: counts[name] }, () => name));
    for (const which of stages) {
      for (const planned of new Set([members.length, 0])) {
        for (const reasons of excesses) {
          for (const deadlineAtMs of deadlines) {
            for (const blockedSinceMs of blockedSince) {
              const facts: GateFacts = { cast: which, planned, counts, reasons, blockedSinceMs };
              const gate: GateLimits = {
                convergedPctMin: 95,
                reasonsMax: { ...noReasons(), READINESS_TIMEOUT: 1 },
                deadlineAtMs,
                blockedMaxAgeMs: 100,
              };
              const { outcome } = judge(facts, gate, NOW);
              if (outcome !== naive(members, facts, gate, NOW)) assert.fail(JSON.stringify({ facts, gate, outcome }));
              seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
            }
          }
        }
      }
    }
  }
  for (const outcome of ["pass", "fail", "inconclusive", "pending"]) assert.ok((seen.get(outcome) ?? 0) > 100, outcome);
});

interface Situation {
  readonly name: string;
  readonly facts: GateFacts;
  readonly outcome: GateOutcome;
  readonly rule: GateRule;
  readonly limits?: Partial<GateLimits>;
}

const situations: readonly Situation[] = [
  { name: "the one canary converged", facts: stage({ converged: 1 }), outcome: "pass", rule: "answered" },
  { name: "nothing was heard yet", facts: stage({ pending: 3 }), outcome: "pending", rule: "waiting" },
  {
    name: "one crash loop among a thousand converged fails at the default limit of zero",
    facts: stage(
      { converged: 999, rolledBack: 1 },
      { cast: "wave", reasons: { ...noReasons(), CRASH_LOOP_DETECTED: 1 } },
    ),
    outcome: "fail",
    rule: "reason-limit",
  },
  {
    name: "one readiness timeout within its limit does not fail a big wave",
    facts: stage(
      { converged: 999, rolledBack: 1 },
      { cast: "wave", reasons: { ...noReasons(), READINESS_TIMEOUT: 1 } },
    ),
    limits: { reasonsMax: { ...noReasons(), READINESS_TIMEOUT: 1 } },
    outcome: "pass",
    rule: "answered",
  },
  {
    name: "95 of 100 pass",
    facts: stage({ converged: 95, failed: 5 }, { cast: "wave" }),
    outcome: "pass",
    rule: "answered",
  },
  {
    name: "94 of 100 fail, with nobody left to wait for",
    facts: stage({ converged: 94, failed: 6 }, { cast: "wave" }),
    outcome: "fail",
    rule: "cannot-pass",
  },
  {
    name: "six failures of 100 fail while 94 have not begun",
    facts: stage({ failed: 3, rolledBack: 3, pending: 94 }, { cast: "wave" }),
    outcome: "fail",
    rule: "cannot-pass",
  },
  {
    name: "19 of 20 pass and are not rounded",
    facts: stage({ converged: 19, rolledBack: 1 }),
    outcome: "pass",
    rule: "answered",
  },
  {
    name: "18 of 19 are less than 95 %",
    facts: stage({ converged: 18, failed: 1 }),
    outcome: "fail",
    rule: "cannot-pass",
  },
  {
    name: "a canary out of reach holds the rollout back",
    facts: stage({ converged: 3, offline: 1 }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "wave members out of reach are not waited for",
    facts: stage({ converged: 3, offline: 9 }, { cast: "wave" }),
    outcome: "pass",
    rule: "answered",
  },
  {
    name: "a wave with members that nobody has assigned yet is not done",
    facts: stage({ converged: 10, waiting: 5 }, { cast: "wave" }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "a wave wholly out of reach is no success",
    facts: stage({ offline: 5 }, { cast: "wave" }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "few answered, and the share of those answers is too low, but it can still pass",
    facts: stage({ converged: 18, failed: 1, offline: 81 }, { cast: "wave" }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "a blocked vehicle is healthy: the wave waits",
    facts: stage({ converged: 30, blocked: 1 }, { cast: "wave", blockedSinceMs: NOW - 100 }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "blocked longer than allowed asks a person",
    facts: stage({ converged: 30, blocked: 1 }, { cast: "wave", blockedSinceMs: NOW - 101 }),
    outcome: "inconclusive",
    rule: "blocked-too-long",
  },
  {
    name: "a passed deadline asks a person",
    facts: stage({ converged: 3, pending: 1 }),
    limits: { deadlineAtMs: NOW },
    outcome: "inconclusive",
    rule: "stage-deadline",
  },
  {
    name: "a stage that has passed does not become inconclusive by its deadline",
    facts: stage({ converged: 4 }),
    limits: { deadlineAtMs: NOW - 1 },
    outcome: "pass",
    rule: "answered",
  },
  {
    name: "failure comes before the deadline",
    facts: stage({ failed: 1 }),
    limits: { deadlineAtMs: NOW - 1 },
    outcome: "fail",
    rule: "cannot-pass",
  },
  { name: "nobody was planned", facts: stage({}, { planned: 0 }), outcome: "pass", rule: "nobody-planned" },
  {
    name: "somebody was planned and nobody is left: no vacuous pass",
    facts: stage({}, { planned: 2 }),
    outcome: "pending",
    rule: "waiting",
  },
];

for (const { name, facts, outcome, rule, limits: special } of situations) {
  test(`gate: ${name}`, () => {
    const verdict = judge(facts, { ...limits, ...special }, NOW);
    assert.deepEqual({ outcome: verdict.outcome, rule: verdict.rule }, { outcome, rule });
  });
}

test("the verdict carries the numbers it was made from", () => {
  const facts = stage({ converged: 2, failed: 1, blocked: 1, offline: 1 });
  const { counts, reasons, cast } = judge(facts, limits, NOW);
  assert.deepEqual({ counts, reasons, cast }, { counts: facts.counts, reasons: noReasons(), cast: "canary" });
});

test("a pending gate says when time alone may change it", () => {
  const gate = { ...limits, deadlineAtMs: NOW + 500 };
  assert.equal(nextJudgementMs(stage({ pending: 1 }), gate), NOW + 500);
  const blocked = stage({ blocked: 1 }, { blockedSinceMs: NOW - 10 });
  assert.equal(nextJudgementMs(blocked, gate), NOW + 91);
  assert.equal(judge(blocked, gate, NOW + 90).outcome, "pending");
  assert.equal(judge(blocked, gate, NOW + 91).outcome, "inconclusive");
  assert.equal(nextJudgementMs(blocked, { ...gate, deadlineAtMs: null, blockedMaxAgeMs: null }), null);
});

test("a tightened share holds 19 of 20 back", () => {
  const facts = stage({ converged: 19, pending: 1 });
  assert.equal(judge({ ...facts, counts: { ...facts.counts, pending: 0, failed: 1 } }, limits, NOW).outcome, "pass");
  const strict = { ...limits, convergedPctMin: 96 };
  assert.equal(judge({ ...facts, counts: { ...facts.counts, pending: 0, failed: 1 } }, strict, NOW).outcome, "fail");
});

test("an emptied stage is told from one that never had members", () => {
  assert.equal(isEmptied(stage({}, { planned: 2 })), true);
  assert.equal(isEmptied(stage({}, { planned: 0 })), false);
  assert.equal(isEmptied(stage({ offline: 1 }, { planned: 2 })), false);
});

test("a whole rollout is clean from 95 % of all its members on", () => {
  assert.equal(isConverged({ ...noMembers(), converged: 95, offline: 5 }, 95), true);
  assert.equal(isConverged({ ...noMembers(), converged: 94, offline: 6 }, 95), false);
  assert.equal(isConverged(noMembers(), 95), true);
});

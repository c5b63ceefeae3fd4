import assert from "node:assert/strict";
import { test } from "node:test";
import { MEMBER_CLASSES, noMembers } from "./classify.ts";
import type { ClassCounts, MemberClass } from "./classify.ts";
import { isConverged, isEmptied, judge, nextJudgementMs, noReasons, STOPPING_REASONS } from "./gate.ts";
import type { GateLimits, GateOutcome, GateRule, ReasonCounts, Stage, StageFacts } from "./gate.ts";

const NOW = 1_000_000;
const limits: GateLimits = { reasonsMax: noReasons(), deadlineAtMs: NOW + 1, blockedMaxAgeMs: 100 };

function stage(counts: Partial<ClassCounts>, more: Partial<StageFacts> = {}): StageFacts {
  const all = { ...noMembers(), ...counts };
  const planned = Object.values(all).reduce((sum, count) => sum + count, 0);
  return { stage: "canary", planned, counts: all, reasons: noReasons(), blockedSinceMs: null, ...more };
}

/** The five rules of the design, said again from a list of members and with exact fractions, as slowly as need be. */
function naive(facts: StageFacts, gate: GateLimits, nowMs: number): GateOutcome {
  const members: MemberClass[] = MEMBER_CLASSES.flatMap((name) =>
    Array.from({ length: facts.counts[name] }, () => name),
  );
  const having = (...names: MemberClass[]) => members.filter((member) => names.includes(member));
  const answered = having("converged", "failed", "rolledBack");
  for (const code of STOPPING_REASONS) if (facts.reasons[code] > gate.reasonsMax[code]) return "fail";
  const couldStillConverge = members.length - having("failed", "rolledBack").length;
  if (members.length > 0 && couldStillConverge / members.length < 19 / 20) return "fail";
  if (members.length === 0) {
    if (facts.planned === 0) return "pass";
  } else {
    const everybody = facts.stage === "canary" ? members : members.filter((member) => member !== "offline");
    const allAnswered = everybody.every((member) => answered.includes(member));
    if (allAnswered && answered.length > 0 && having("converged").length / answered.length >= 19 / 20) return "pass";
  }
  if (nowMs >= gate.deadlineAtMs) return "inconclusive";
  if (facts.blockedSinceMs !== null && nowMs - facts.blockedSinceMs > gate.blockedMaxAgeMs) return "inconclusive";
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
  const stages: readonly Stage[] = ["canary", "wave"];
  const seen = new Map<string, number>();
  for (const counts of combinations(6)) {
    const members = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const which of stages) {
      for (const planned of new Set([members, 0])) {
        for (const reasons of excesses) {
          for (const deadlineAtMs of deadlines) {
            for (const blockedSinceMs of blockedSince) {
              const facts: StageFacts = { stage: which, planned, counts, reasons, blockedSinceMs };
              const gate: GateLimits = {
                reasonsMax: { ...noReasons(), READINESS_TIMEOUT: 1 },
                deadlineAtMs,
                blockedMaxAgeMs: 100,
              };
              const { outcome } = judge(facts, gate, NOW);
              if (outcome !== naive(facts, gate, NOW)) assert.fail(JSON.stringify({ facts, gate, outcome }));
              seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
            }
          }
        }
      }
    }
  }
  for (const outcome of ["pass", "fail", "inconclusive", "pending"])
    assert.ok((seen.get(outcome) ?? 0) > 100, outcome);
});

interface Situation {
  readonly name: string;
  readonly facts: StageFacts;
  readonly outcome: GateOutcome;
  readonly rule: GateRule;
  readonly limits?: Partial<GateLimits>;
}

const situations: readonly Situation[] = [
  { name: "the one canary converged", facts: stage({ converged: 1 }), outcome: "pass", rule: "converged_share" },
  { name: "nothing was heard yet", facts: stage({ pending: 3 }), outcome: "pending", rule: "waiting" },
  {
    name: "one crash loop among a thousand converged fails at the default limit of zero",
    facts: stage(
      { converged: 999, rolledBack: 1 },
      { stage: "wave", reasons: { ...noReasons(), CRASH_LOOP_DETECTED: 1 } },
    ),
    outcome: "fail",
    rule: "reason_limit",
  },
  {
    name: "one readiness timeout within its limit does not fail a big wave",
    facts: stage(
      { converged: 999, rolledBack: 1 },
      { stage: "wave", reasons: { ...noReasons(), READINESS_TIMEOUT: 1 } },
    ),
    limits: { reasonsMax: { ...noReasons(), READINESS_TIMEOUT: 1 } },
    outcome: "pass",
    rule: "converged_share",
  },
  {
    name: "95 of 100 pass",
    facts: stage({ converged: 95, failed: 5 }, { stage: "wave" }),
    outcome: "pass",
    rule: "converged_share",
  },
  {
    name: "94 of 100 fail, with nobody left to wait for",
    facts: stage({ converged: 94, failed: 6 }, { stage: "wave" }),
    outcome: "fail",
    rule: "unreachable",
  },
  {
    name: "six failures of 100 fail while 94 have not begun",
    facts: stage({ failed: 3, rolledBack: 3, pending: 94 }, { stage: "wave" }),
    outcome: "fail",
    rule: "unreachable",
  },
  {
    name: "19 of 20 pass and are not rounded",
    facts: stage({ converged: 19, rolledBack: 1 }),
    outcome: "pass",
    rule: "converged_share",
  },
  {
    name: "18 of 19 are less than 95 %",
    facts: stage({ converged: 18, failed: 1 }),
    outcome: "fail",
    rule: "unreachable",
  },
  {
    name: "a canary out of reach holds the rollout back",
    facts: stage({ converged: 3, offline: 1 }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "wave members out of reach are not waited for",
    facts: stage({ converged: 3, offline: 9 }, { stage: "wave" }),
    outcome: "pass",
    rule: "converged_share",
  },
  {
    name: "a wave wholly out of reach is no success",
    facts: stage({ offline: 5 }, { stage: "wave" }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "few answered, and the share of those answers is too low, but it can still pass",
    facts: stage({ converged: 18, failed: 1, offline: 81 }, { stage: "wave" }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "a blocked vehicle is healthy: the wave waits",
    facts: stage({ converged: 30, blocked: 1 }, { stage: "wave", blockedSinceMs: NOW - 100 }),
    outcome: "pending",
    rule: "waiting",
  },
  {
    name: "blocked longer than allowed asks a person",
    facts: stage({ converged: 30, blocked: 1 }, { stage: "wave", blockedSinceMs: NOW - 101 }),
    outcome: "inconclusive",
    rule: "blocked_too_long",
  },
  {
    name: "a passed deadline asks a person",
    facts: stage({ converged: 3, pending: 1 }),
    limits: { deadlineAtMs: NOW },
    outcome: "inconclusive",
    rule: "deadline",
  },
  {
    name: "a stage that has passed does not become inconclusive by its deadline",
    facts: stage({ converged: 4 }),
    limits: { deadlineAtMs: NOW - 1 },
    outcome: "pass",
    rule: "converged_share",
  },
  {
    name: "failure comes before the deadline",
    facts: stage({ failed: 1 }),
    limits: { deadlineAtMs: NOW - 1 },
    outcome: "fail",
    rule: "unreachable",
  },
  { name: "nobody was planned", facts: stage({}, { planned: 0 }), outcome: "pass", rule: "empty_stage" },
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
  const { numbers } = judge(stage({ converged: 2, failed: 1, blocked: 1, offline: 1 }), limits, NOW);
  const counts = { converged: 2, failed: 1, rolledBack: 0, blocked: 1, applying: 0, pending: 0, offline: 1 };
  assert.deepEqual(numbers, { ...counts, members: 5, answered: 3, reasons: noReasons() });
});

test("a pending gate says when time alone may change it", () => {
  const gate = { ...limits, deadlineAtMs: NOW + 500 };
  const at = (facts: StageFacts) => nextJudgementMs(facts, gate, judge(facts, gate, NOW));
  assert.equal(at(stage({ pending: 1 })), NOW + 500);
  assert.equal(at(stage({ blocked: 1 }, { blockedSinceMs: NOW - 10 })), NOW + 91);
  assert.equal(at(stage({ converged: 1 })), null);
  const blocked = stage({ blocked: 1 }, { blockedSinceMs: NOW - 10 });
  assert.equal(judge(blocked, gate, NOW + 90).outcome, "pending");
  assert.equal(judge(blocked, gate, NOW + 91).outcome, "inconclusive");
});

test("an emptied stage is told from one that never had members", () => {
  assert.equal(isEmptied(stage({}, { planned: 2 })), true);
  assert.equal(isEmptied(stage({}, { planned: 0 })), false);
  assert.equal(isEmptied(stage({ offline: 1 }, { planned: 2 })), false);
});

test("a whole rollout is clean from 95 % of all its members on", () => {
  assert.equal(isConverged({ ...noMembers(), converged: 95, offline: 5 }), true);
  assert.equal(isConverged({ ...noMembers(), converged: 94, offline: 6 }), false);
  assert.equal(isConverged(noMembers()), true);
});

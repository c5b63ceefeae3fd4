import assert from "node:assert/strict";
import { test } from "node:test";
import type { RolloutOutcome, RolloutStatus } from "@muto/spec";
import { noMembers } from "./classify.ts";
import { answerCommand } from "./commands.ts";
import type { Answer, Command, CommandFacts, Refusal } from "./commands.ts";
import { noReasons } from "./gate.ts";
import type { Cast, GateOutcome, Verdict } from "./gate.ts";

function verdict(cast: Cast, outcome: GateOutcome, failed = 0): Verdict {
  return { cast, outcome, rule: "waiting", counts: { ...noMembers(), failed }, reasons: noReasons() };
}

function state(status: RolloutStatus, more: Partial<CommandFacts> = {}): CommandFacts {
  return {
    status,
    stage: "wave",
    outcome: null,
    pause: status === "paused" ? "operator" : null,
    returning: status === "rolling_back" || status === "rolled_back" ? ["canary", "wave"] : null,
    given: { canary: 1, wave: 5 },
    verdicts: { canary: verdict("canary", "pass"), wave: verdict("wave", "pending") },
    ...more,
  };
}

const ended = (outcome: RolloutOutcome) => state("completed", { outcome });
const states = {
  active: state("active"),
  paused: state("paused"),
  rolling_back: state("rolling_back"),
  rolled_back: state("rolled_back", { outcome: "clean" }),
  clean: ended("clean"),
  stragglers: ended("stragglers"),
  aborted: ended("aborted"),
  superseded: ended("superseded"),
} as const;

type Cell = "do" | "already" | Refusal;
const commands: Readonly<Record<string, Command>> = {
  pause: { kind: "pause" },
  resume: { kind: "resume", how: "wait" },
  abort: { kind: "abort" },
  supersede: { kind: "supersede" },
  rollback: { kind: "rollback", cast: null },
};

const table: Readonly<Record<string, readonly Cell[]>> = {
  //          active     paused     rolling_back    rolled_back  clean      stragglers aborted    superseded
  pause: ["do", "already", "rolling-back", "ended", "ended", "ended", "ended", "ended"],
  resume: ["already", "do", "rolling-back", "ended", "ended", "ended", "ended", "ended"],
  abort: ["do", "do", "rolling-back", "ended", "ended", "ended", "already", "ended"],
  supersede: ["do", "do", "do", "already", "already", "already", "already", "already"],
  rollback: ["do", "do", "already", "already", "do", "do", "do", "do"],
};

const cellOf = (answer: Answer): Cell => (answer.kind === "refuse" ? answer.refusal : answer.kind);

for (const [name, row] of Object.entries(table)) {
  for (const [index, [stateName, facts]] of Object.entries(states).entries()) {
    const command = commands[name];
    const expected = row[index];
    test(`${name} when ${stateName}: ${expected}`, () => {
      assert.ok(command);
      assert.equal(cellOf(answerCommand(command, facts)), expected);
    });
  }
}

const paused = state("paused");
const inconclusive = (stage: CommandFacts["stage"], more: Partial<CommandFacts> = {}) =>
  state("paused", { stage, pause: "inconclusive", ...more });
const accept: Command = { kind: "resume", how: "acceptInconclusive" };
const replace: Command = { kind: "resume", how: "replaceCanaries" };
const wait: Command = { kind: "resume", how: "wait" };
const failing = { canary: verdict("canary", "pass"), wave: verdict("wave", "fail", 3) };

const situations: readonly (readonly [name: string, command: Command, facts: CommandFacts, expected: Cell])[] = [
  ["a failing gate cannot be resumed", wait, state("paused", { verdicts: failing }), "gate-fails"],
  ["nor accepted", accept, inconclusive("wave", { verdicts: failing }), "gate-fails"],
  ["an inconclusive wave can be accepted", accept, inconclusive("wave"), "do"],
  [
    "with one failure among its members it cannot",
    accept,
    inconclusive("wave", { verdicts: { canary: verdict("canary", "pass"), wave: verdict("wave", "inconclusive", 1) } }),
    "something-failed",
  ],
  ["a pause by a person is not inconclusive", accept, paused, "not-inconclusive"],
  ["an active rollout cannot be accepted", accept, state("active"), "not-paused"],
  ["canaries are replaced while canaries are judged", replace, inconclusive("canary"), "do"],
  ["not in the wave", replace, inconclusive("wave"), "not-canary-stage"],
  ["not after a pause by a person", replace, state("paused", { stage: "canary" }), "not-inconclusive"],
  ["a restored database is confirmed by resuming", wait, state("paused", { pause: "restored-database" }), "do"],
  ["one stage can be sent back", { kind: "rollback", cast: "wave" }, state("active"), "do"],
  [
    "a stage that was given nothing cannot",
    { kind: "rollback", cast: "wave" },
    state("active", { given: { canary: 2, wave: 0 } }),
    "nobody-given",
  ],
  [
    "sending back a stage that is on its way back is a no-op",
    { kind: "rollback", cast: "wave" },
    state("rolling_back", { returning: ["wave"] }),
    "already",
  ],
  [
    "sending back the rest as well is not",
    { kind: "rollback", cast: null },
    state("rolling_back", { returning: ["wave"] }),
    "do",
  ],
  ["nor is the other stage", { kind: "rollback", cast: "canary" }, state("rolled_back", { returning: ["wave"] }), "do"],
];

for (const [name, command, facts, expected] of situations) {
  test(`command: ${name}`, () => assert.equal(cellOf(answerCommand(command, facts)), expected));
}

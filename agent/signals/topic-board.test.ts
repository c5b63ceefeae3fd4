import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignalMappingInput } from "@muto/spec";
import type { Heard } from "./line.ts";
import type { TopicPlan } from "./mapping.ts";
import { createTopicBoard } from "./topic-board.ts";

const limits = { speedMps: 0.1, yawRateRadps: 0.05 };
const modes = [
  { when: [1], means: "manual" },
  { when: [2], means: "autonomous" },
  { when: [3], means: "clear" },
] as const;

function planned(
  topic: string,
  ...mappings: readonly Pick<SignalMappingInput, "signal" | "values" | "latched">[]
): TopicPlan {
  const type = "a_msgs/msg/A";
  const whole = mappings.map((mapping) => ({
    topic,
    type,
    path: ["f"],
    scale: 1,
    offset: 0,
    latched: false,
    ...mapping,
  }));
  return { topic, type, latched: whole.some(({ latched }) => latched), mappings: whole };
}

/** A board whose clock and publishers a test moves by hand, and what it said: `[line, ageMs]`. */
function boardOf(...topics: readonly TopicPlan[]) {
  const now = { ms: 1_000, deadSources: new Set<string>() };
  const said: (readonly [Heard, number])[] = [];
  const board = createTopicBoard({
    plan: { topics, heartbeat: undefined, messages: [] },
    limits,
    nowMs: () => now.ms,
    latchedAgeMs: (_, { source }) => (now.deadSources.has(source) ? undefined : 0),
    onHeard: (heard, ageMs = 0) => said.push([heard, ageMs]),
  });
  return { board, now, said: () => said.splice(0) };
}

const line = (values: object) => ({ kind: "muto.signals/v1", ...values });
const wheels = planned("/wheels", { signal: "speed" });
const gnss = planned("/gnss", { signal: "speed" });

test("board: H6: two sources of speed are as old as the older one, and the faster one wins", () => {
  const { board, now, said } = boardOf(wheels, gnss);
  board.hear(wheels, [[0]], "w");
  assert.deepEqual(said(), [], "the other one was never heard");
  board.hear(gnss, [[0.05]], "g");
  assert.deepEqual(said(), [[line({ speedMps: 0.05 }), 0]]);
  now.ms += 700;
  board.hear(wheels, [[0]], "w");
  assert.deepEqual(said(), [[line({ speedMps: 0.05 }), 700]], "the wheels go on, the other falls silent");
});

test("board: what closes a gate is said at once, whatever the others do", () => {
  const { board, now, said } = boardOf(wheels, gnss);
  board.hear(wheels, [[9]], "w");
  assert.deepEqual(said(), [[line({ speedMps: 9 }), 0]], "nothing was heard of the other");
  board.hear(gnss, [[null]], "g");
  assert.deepEqual(said(), [[line({ speedMps: 9 }), 0]], "the other does not know");
  now.ms += 100;
  board.hear(wheels, [[0]], "w");
  assert.deepEqual(said(), [[line({ speedMps: null }), 100]]);
});

test("board: the most restrictive mode wins, and clear alone says nothing", () => {
  const control = planned("/control", { signal: "mode", values: modes });
  const risk = planned("/risk", { signal: "mode", values: modes });
  const { board, said } = boardOf(control, risk);
  board.hear(risk, [[3]], "r");
  board.hear(control, [[3]], "c");
  assert.deepEqual(said(), [[line({ mode: null }), 0]]);
  board.hear(control, [[1]], "c");
  board.hear(risk, [[2]], "r");
  board.hear(control, [[7]], "c");
  board.hear(risk, [[3]], "r");
  assert.deepEqual(
    said().map(([heard]) => heard),
    [line({ mode: "manual" }), line({ mode: "autonomous" }), line({ mode: "autonomous" }), line({ mode: null })],
  );
});

test("board: a latched mode lives with its publisher, not with its age", () => {
  const mode = planned("/mode", { signal: "mode", values: modes, latched: true });
  const { board, now, said } = boardOf(mode);
  board.hear(mode, [[1]], "writer-1");
  now.ms += 3_600_000;
  board.repeat();
  assert.deepEqual(said(), [
    [line({ mode: "manual" }), 0],
    [line({ mode: "manual" }), 0],
  ]);
  now.deadSources.add("writer-1");
  board.repeat();
  assert.deepEqual(said(), [], "nothing is said for the dead");
  board.hear(mode, [[2]], "writer-2");
  assert.deepEqual(said(), [[line({ mode: "autonomous" }), 0]]);
});

test("board: a streamed part that falls silent makes the whole stale though the latched part lives", () => {
  const operation = planned("/operation", { signal: "mode", values: modes, latched: true });
  const control = planned("/control", { signal: "mode", values: modes });
  const { board, now, said } = boardOf(operation, control);
  board.hear(operation, [[1]], "o");
  board.hear(control, [[2]], "c");
  now.ms += 5_000;
  board.repeat();
  assert.deepEqual(said(), [
    [line({ mode: "autonomous" }), 0],
    [line({ mode: "autonomous" }), 5_000],
  ]);
});

test("board: what is malformed takes back its own keys alone", () => {
  const battery = planned("/battery", { signal: "battery" }, { signal: "charging" });
  const { board, said } = boardOf(battery, wheels);
  board.hearMalformed(battery);
  board.hear(battery, [[101], [false]], "b");
  assert.deepEqual(
    said().map(([heard]) => heard),
    [
      { kind: "malformed", keys: ["batteryPct"] },
      { kind: "malformed", keys: ["charging"] },
      { kind: "malformed", keys: ["batteryPct"] },
      line({ charging: false }),
    ],
  );
});

test("board: what was forgotten is not said again", () => {
  const mode = planned("/mode", { signal: "mode", values: modes, latched: true });
  const { board, said } = boardOf(mode);
  board.hear(mode, [[1]], "w");
  said();
  board.forget();
  board.repeat();
  assert.deepEqual(said(), []);
});

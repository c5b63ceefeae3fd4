import assert from "node:assert/strict";
import { test } from "node:test";
import type { Graph, Sample } from "@muto/dds/model";
import type { Participant, SubscribeOptions } from "@muto/dds/participant";
import { systemClock } from "@muto/kit/clock";
import type { DdsDomain } from "../signals/dds-domain.ts";
import { openDdsGraph } from "./dds-graph.ts";

const forEver = new AbortController().signal;
const EVENT = "/planner/transition_event";
const WRITER = "01".repeat(16);

/** A domain whose peers a test plays; real ones are heard in test/services/dds. */
function openPlayed() {
  const now = { ms: 10_000 };
  const subscriptions = new Map<string, SubscribeOptions>();
  const state: { nodes: readonly string[]; writers: ReadonlyMap<string, string> } = { nodes: [], writers: new Map() };
  const graphNow = (): Graph => ({
    participants: [],
    nodes: state.nodes.map((name) => ({ name, participant: "" })),
    topics: [...state.writers].map(([name, writer]) => ({
      name,
      type: "",
      publishers: [{ writer, qos: { reliability: "reliable", durability: "volatile" }, incompatible: [] }],
    })),
  });
  const participant: Participant = {
    subscribe: () => {
      throw new Error("the domain subscribes");
    },
    graph: graphNow,
    topic: (name) => ({
      name,
      publishers: state.writers.has(name) ? 1 : 0,
      matched: 0,
      incompatible: [],
      received: undefined,
    }),
    counters: () => ({ datagrams: 0, malformed: 0, foreign: 0, refused: 0, duplicates: 0, lost: 0 }),
    watch: () => ({ [Symbol.dispose]: () => {} }),
    [Symbol.asyncDispose]: async () => {},
  };
  const domain: DdsDomain = {
    joined: () => ({ participant, sinceMs: 10_000 }),
    subscribe: (subscription) => {
      subscriptions.set(subscription.topic, subscription);
      return { [Symbol.dispose]: () => void subscriptions.delete(subscription.topic) };
    },
    watch: () => ({ [Symbol.dispose]: () => {} }),
    [Symbol.asyncDispose]: async () => {},
  };
  const clock = { ...systemClock(), monotonicMs: () => now.ms };
  const graph = openDdsGraph({ domain, clock });
  return {
    graph,
    now,
    state,
    say: (topic: string, payload: Uint8Array) => {
      const sample: Sample = { payload, writer: WRITER, sequence: 1, receivedAtMs: now.ms };
      subscriptions.get(topic)?.onSample(sample);
    },
    [Symbol.asyncDispose]: () => graph[Symbol.asyncDispose](),
  };
}

/** lifecycle_msgs/msg/TransitionEvent in CDR: a time stamp, then transition, start state and goal state, each with id and label. */
function transition(goal: number): Uint8Array {
  const bytes = Buffer.alloc(4 + 8 + 3 * 12);
  bytes[1] = 1;
  for (const [index, id] of [3, 2, goal].entries()) {
    const at = 12 + index * 12;
    bytes[at] = id;
    // A label of three characters and the closing zero.
    bytes.writeUInt32LE(4, at + 4);
    bytes.write("abc", at + 8, "latin1");
  }
  return bytes;
}

test("dds graph: a lifecycle state is known from the first transition on, while its node lives", async () => {
  await using played = openPlayed();
  const { graph, state } = played;
  state.writers = new Map([[EVENT, WRITER]]);
  assert.equal(await graph.lifecycle("/planner", forEver), null, "nothing was heard yet");
  played.say(EVENT, transition(3));
  assert.equal(await graph.lifecycle("/planner", forEver), 3);
  played.say(EVENT, transition(14));
  assert.equal(await graph.lifecycle("/planner", forEver), null, "deactivating is no state");
  played.say(EVENT, transition(2));
  assert.equal(await graph.lifecycle("/planner", forEver), 2);
  played.say(EVENT, new Uint8Array([0, 1, 0, 0, 5]));
  assert.equal(await graph.lifecycle("/planner", forEver), null, "cut short");
  played.say(EVENT, transition(3));
  state.writers = new Map();
  assert.equal(await graph.lifecycle("/planner", forEver), null, "the node is gone");
});

test("dds graph: a node that is not seen is unknown until the others had time to announce themselves", async () => {
  await using played = openPlayed();
  const { graph, now, state } = played;
  assert.equal(await graph.node("/planner", forEver), null);
  now.ms += 3_000;
  assert.equal(await graph.node("/planner", forEver), false);
  state.nodes = ["/planner"];
  assert.equal(await graph.node("/planner", forEver), true);
});

test("dds graph: a topic that nobody publishes, and the window that must fill", async () => {
  await using played = openPlayed();
  const watch = { topic: "/odom", messageType: "nav_msgs/msg/Odometry", windowSec: 2 };
  const first = await played.graph.topic(watch, forEver);
  assert.deepEqual(first, { hz: 0, ageMs: null, publishers: 0, isWindowFull: false });
  played.now.ms += 2_000;
  assert.equal((await played.graph.topic(watch, forEver))?.isWindowFull, true);
});

test("dds graph: services are not called", async () => {
  await using played = openPlayed();
  assert.equal(await played.graph.trigger("/planner/is_active", forEver), null);
});

test("dds graph: there is an end to what is watched", async () => {
  await using played = openPlayed();
  const seen = [];
  for (let count = 0; count < 65; count += 1) {
    const watch = { topic: `/t${count}`, messageType: "nav_msgs/msg/Odometry", windowSec: 2 };
    seen.push(await played.graph.topic(watch, forEver));
  }
  assert.equal(seen.filter((one) => one === null).length, 1);
});

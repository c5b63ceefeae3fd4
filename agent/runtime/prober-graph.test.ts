import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { GraphProbe } from "../reconcile/graph-probe.ts";
import { ModelGraph } from "../model/graph.ts";
import type { DiagnosticSeen, GraphReader, Instance, InstanceState, ProbeSeen, TopicSeen } from "../ports.ts";
import { PROBE_LIMITS, processProber } from "./prober.ts";
import { judgeDiagnostics, judgeTopic } from "./prober-graph.ts";

const base = { name: "p", workload: "w", liveness: false } as const;
const node: GraphProbe = { ...base, kind: "node", node: "/planner" };
const lifecycle: GraphProbe = { ...base, kind: "lifecycle", node: "/planner", state: "active" };
const service: GraphProbe = { ...base, kind: "service", service: "/nav/is_active" };
type Topic = Extract<GraphProbe, { kind: "topic" }>;
type Diagnostics = Extract<GraphProbe, { kind: "diagnostics" }>;
const topic: Topic = {
  ...base,
  kind: "topic",
  topic: "/points",
  messageType: "sensor_msgs/msg/PointCloud2",
  windowSec: 3,
  publishersMin: 1,
};
const diagnostics: Diagnostics = { ...base, kind: "diagnostics", levelMax: "warn", ageSecMax: 5 };
const never = new AbortController().signal;
const noOutput = { saw: async () => null };

const running = instance({ kind: "running", pid: 1, supervised: true });
const ended = instance({ kind: "ended", requested: false, code: 0, signal: null, atMs: 0 });

function instance(state: InstanceState): Instance {
  return {
    instanceId: "i",
    set: "s",
    workload: "w",
    configHash: "c",
    bootId: "b",
    startedAtMs: 0,
    isolation: "full",
    state,
  };
}

/** `too-slow 7.5 of 10, 40 ms old` */
function inWords({ problem, seen, required, ageMs }: ProbeSeen): string {
  return `${problem ?? "met"} ${seen} of ${required}${ageMs === null ? "" : `, ${ageMs} ms old`}`;
}

describe("probes of the graph", () => {
  const through = (graph: GraphReader | undefined, probe: GraphProbe, what: Instance | null = running) =>
    processProber(noOutput, "127.0.0.1", graph)
      .look(probe, what ?? undefined, never)
      .then(inWords);

  test("node: there, gone, and what cannot be seen is not met", async () => {
    const graph = new ModelGraph();
    assert.equal(await through(graph, node), "met true of true, 0 ms old");
    graph.leave("/planner");
    assert.equal(await through(graph, node), "absent false of true, 0 ms old");
    graph.isConnected = false;
    assert.equal(await through(graph, node), "not-seen null of true");
  });

  test("lifecycle: the state that is asked for, and which one it is instead", async () => {
    const graph = new ModelGraph();
    assert.equal(await through(graph, lifecycle), "met 3 of 3, 0 ms old");
    graph.states.set("/planner", 2);
    assert.equal(await through(graph, lifecycle), "wrong-state 2 of 3, 0 ms old");
    assert.equal(await through(graph, { ...lifecycle, state: "inactive" }), "met 2 of 2, 0 ms old");
    graph.isConnected = false;
    assert.equal(await through(graph, lifecycle), "not-seen null of 3");
  });

  test("service: success, refusal, no answer", async () => {
    const graph = new ModelGraph();
    assert.equal(await through(graph, service), "met true of true, 0 ms old");
    graph.refusing.add("/nav/is_active");
    assert.equal(await through(graph, service), "refused false of true, 0 ms old");
    graph.isConnected = false;
    assert.equal(await through(graph, service), "not-seen null of true");
  });

  test("a service that is gone or hangs is told from a provider that is away (H24)", async () => {
    class Hanging extends ModelGraph {
      override trigger(): Promise<boolean | null> {
        return new Promise(() => {});
      }
    }
    const graph = new Hanging();
    const over = new AbortController();
    const look = processProber(noOutput, "127.0.0.1", graph).look(service, running, over.signal);
    await new Promise((resolve) => setImmediate(resolve));
    over.abort();
    assert.equal(inWords(await look), "unreachable null of true");
    class Gone extends ModelGraph {
      override async trigger(): Promise<boolean | null> {
        return null;
      }
    }
    const gone = new Gone();
    assert.equal(await through(gone, service), "unreachable null of true");
    gone.isConnected = false;
    assert.equal(await through(gone, service), "not-seen null of true");
  });

  test("the state of a node that left is not merely unseen", async () => {
    class Silent extends ModelGraph {
      override async lifecycle(): Promise<number | null> {
        return null;
      }
    }
    const graph = new Silent();
    assert.equal(await through(graph, lifecycle), "not-seen null of 3", "nobody has told it yet");
    graph.leave("/planner");
    assert.equal(await through(graph, lifecycle), "absent null of 3");
  });

  test("a vehicle without a provider of the graph meets none of them", async () => {
    for (const probe of [node, lifecycle, service, topic, diagnostics]) {
      assert.equal(await through(undefined, probe), "unsupported null of null");
    }
  });

  test("what another process shows in the graph meets nothing for a workload that does not run", async () => {
    const graph = new ModelGraph();
    assert.equal(await through(graph, node, ended), "not-running null of null");
    assert.equal(await through(graph, node, null), "not-running null of null");
  });

  test("a topic is watched from the first look on, although its workload is not up yet", async () => {
    const asked: string[] = [];
    class Noting extends ModelGraph {
      override async topic(watch: Parameters<GraphReader["topic"]>[0]) {
        asked.push(`${watch.topic} ${watch.messageType} ${watch.windowSec}`);
        return await super.topic(watch);
      }
    }
    assert.equal(await through(new Noting(), { ...topic, hzMin: 10 }, null), "not-running null of 10");
    assert.deepEqual(asked, ["/points sensor_msgs/msg/PointCloud2 3"]);
  });

  test("a provider that never answers is not waited for", async () => {
    const asked = new AbortController();
    class Silent extends ModelGraph {
      override node(): Promise<boolean | null> {
        asked.abort();
        return new Promise(() => {});
      }
    }
    const prober = processProber(noOutput, "127.0.0.1", new Silent());
    assert.equal(inWords(await prober.look(node, running, asked.signal)), "not-seen null of true");
    assert.ok(PROBE_LIMITS.lookMs <= 2_000);
  });
});

const topicTable: Readonly<Record<string, readonly [Partial<Topic>, Partial<TopicSeen> | null, string]>> = {
  "cannot be seen": [{ hzMin: 10 }, null, "not-seen null of 10"],
  "cannot be seen, only publishers are asked for": [{}, null, "not-seen null of 1"],
  "nobody publishes": [{ hzMin: 10 }, { publishers: 0, hz: 0, ageMs: null }, "too-few-publishers 0 of 1"],
  "one of two publishers left": [{ publishersMin: 2 }, {}, "too-few-publishers 1 of 2, 40 ms old"],
  "only publishers are asked for": [{}, {}, "met 1 of 1, 40 ms old"],
  "a publisher that says nothing": [{ ageSecMax: 1 }, { ageMs: null, hz: 0 }, "too-old null of 1000"],
  "the newest message is old": [{ ageSecMax: 1 }, { ageMs: 1_200 }, "too-old 1200 of 1000, 1200 ms old"],
  "the newest message is just young enough": [{ ageSecMax: 1 }, { ageMs: 1_000 }, "met 1000 of 1000, 1000 ms old"],
  "age before rate: silence explains slowness": [
    { ageSecMax: 1, hzMin: 10 },
    { ageMs: 9_000, hz: 0 },
    "too-old 9000 of 1000, 9000 ms old",
  ],
  "too slow": [{ hzMin: 10 }, { hz: 7.456 }, "too-slow 7.46 of 10, 40 ms old"],
  "fast enough": [{ hzMin: 10 }, { hz: 10 }, "met 10 of 10, 40 ms old"],
  "slow in a window that is not full": [
    { hzMin: 10 },
    { hz: 2, isWindowFull: false },
    "window-not-full 2 of 10, 40 ms old",
  ],
  "fast in a window that is not full": [
    { hzMin: 10 },
    { hz: 30, isWindowFull: false },
    "window-not-full 30 of 10, 40 ms old",
  ],
  "without a rate the window does not matter": [{}, { isWindowFull: false }, "met 1 of 1, 40 ms old"],
};

describe("what is seen of a topic", () => {
  for (const [situation, [asks, seen, expected]] of Object.entries(topicTable)) {
    test(situation, () => {
      const well = { hz: 20, ageMs: 40, publishers: 1, isWindowFull: true };
      assert.equal(inWords(judgeTopic({ ...topic, ...asks }, seen === null ? null : { ...well, ...seen })), expected);
    });
  }
});

const lidar = (level: number, ageMs = 100): DiagnosticSeen => ({ name: "/sensing/lidar", level, ageMs });
const gnss = (level: number, ageMs = 100): DiagnosticSeen => ({ name: "/sensing/gnss", level, ageMs });

const diagnosticsTable: Readonly<
  Record<string, readonly [Partial<Diagnostics>, readonly DiagnosticSeen[] | null, string]>
> = {
  "cannot be seen": [{}, null, "not-seen null of 1"],
  "nothing was ever said": [{}, [], "absent null of 1"],
  "the worst of all": [{}, [lidar(0), gnss(2)], "level-too-high 2 of 1, 100 ms old"],
  "a warning is allowed": [{}, [lidar(1), gnss(0)], "met 1 of 1, 100 ms old"],
  "no warning is allowed": [{ levelMax: "ok" }, [lidar(1)], "level-too-high 1 of 0, 100 ms old"],
  "STALE is above every limit": [{ levelMax: "error" }, [lidar(3)], "level-too-high 3 of 2, 100 ms old"],
  "one that is named": [{ status: "/sensing/lidar" }, [lidar(0), gnss(2)], "met 0 of 1, 100 ms old"],
  "one that is named and never said": [{ status: "/sensing/radar" }, [lidar(0)], "absent null of 1"],
  "what is named is too old": [
    { status: "/sensing/lidar" },
    [lidar(0, 6_000), gnss(0)],
    "too-old 6000 of 5000, 6000 ms old",
  ],
  "what is no longer published does not count for ever": [{}, [lidar(2, 60_000), gnss(0)], "met 0 of 1, 100 ms old"],
  "nothing is young enough": [{}, [lidar(0, 60_000), gnss(0, 7_000)], "too-old 7000 of 5000, 7000 ms old"],
};

describe("what is seen of diagnostics", () => {
  for (const [situation, [asks, seen, expected]] of Object.entries(diagnosticsTable)) {
    test(situation, () => assert.equal(inWords(judgeDiagnostics({ ...diagnostics, ...asks }, seen)), expected));
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { fastClock } from "../../test/stand-ins/fast-clock.ts";
import { openRosbridgeDouble, type RosbridgeDouble } from "../../test/stand-ins/rosbridge.ts";
import { systemWebSocket } from "../rosbridge/system-web-socket.ts";
import { openRosbridgeGraph } from "./rosbridge-graph.ts";

const FACTOR = 20;
const limit = { timeout: 20_000 };
const forEver = new AbortController().signal;

async function connected(options: { readonly rosapi?: boolean } = {}) {
  const double = await openRosbridgeDouble(options);
  const clock = fastClock(FACTOR);
  const random = systemRandom();
  const connector = systemWebSocket(random);
  const graph = openRosbridgeGraph({ url: double.url, connector, clock, random, logger: silentLogger });
  const changed = Promise.withResolvers<void>();
  await using watch = graph.watch(() => changed.resolve());
  void watch;
  await changed.promise;
  return {
    double,
    graph,
    clock,
    [Symbol.asyncDispose]: async () => {
      await graph[Symbol.asyncDispose]();
      await double[Symbol.asyncDispose]();
    },
  };
}

test("graph: a node is there, or is not", limit, async () => {
  await using stack = await connected();
  stack.double.nodes = ["/planner"];
  assert.equal(await stack.graph.node("/planner", forEver), true);
  assert.equal(await stack.graph.node("/lidar", forEver), false);
});

test("graph: several questions of one look are one call", limit, async () => {
  await using stack = await connected();
  const names = ["/a", "/b", "/c"];
  await Promise.all(names.map(async (name) => await stack.graph.node(name, forEver)));
  assert.equal(stack.double.asked.filter(({ service }) => service === "/rosapi/nodes").length, 1);
});

test("graph: a node that comes or goes wakes", limit, async () => {
  await using stack = await connected();
  stack.double.nodes = ["/planner"];
  let woken = Promise.withResolvers<void>();
  await using watch = stack.graph.watch(() => woken.resolve());
  void watch;
  await woken.promise;
  woken = Promise.withResolvers();
  stack.double.nodes = [];
  await woken.promise;
  assert.equal(await stack.graph.node("/planner", forEver), false);
});

const lidar = { topic: "/lidar/points", messageType: "sensor_msgs/msg/PointCloud2", windowSec: 3 };

test("graph: the rate of a topic is measured on raw messages, which nobody converts", limit, async () => {
  await using stack = await connected();
  const { double, graph, clock } = stack;
  double.advertise(lidar.topic, { publishers: ["/lidar"] });
  const first = await graph.topic(lidar, forEver);
  assert.deepEqual([first?.hz, first?.ageMs, first?.publishers, first?.isWindowFull], [0, null, 1, false]);
  await double.until(() => double.subscribers(lidar.topic) === 1);
  assert.equal(double.asked.find(({ op }) => op === "subscribe")?.["compression"], "cbor-raw");
  for (let count = 0; count < 40; count += 1) {
    double.publish(lidar.topic, {});
    await clock.sleep(100);
  }
  const seen = await graph.topic(lidar, forEver);
  assert.ok(seen !== null && seen.isWindowFull && seen.hz > 2 && seen.hz <= 10.5, JSON.stringify(seen));
  assert.ok(seen.ageMs !== null && seen.ageMs < 1_000);
});

test("graph: what was missed without a connection is no low rate", limit, async () => {
  await using stack = await connected();
  const { double, graph, clock } = stack;
  await graph.topic({ ...lidar, windowSec: 1 }, forEver);
  await clock.sleep(1_100);
  assert.equal((await graph.topic({ ...lidar, windowSec: 1 }, forEver))?.isWindowFull, true);
  double.cut();
  await double.until(() => double.asked.filter(({ topic }) => topic === lidar.topic).length === 2);
  assert.equal((await graph.topic({ ...lidar, windowSec: 100 }, forEver))?.isWindowFull, false);
});

test("graph: lifecycle states, and a node in between", limit, async () => {
  await using stack = await connected();
  const state = (id: unknown) =>
    stack.double.services.set("/planner/get_state", () => ({ current_state: { id, label: "" } }));
  for (const [id, seen] of [
    [3, 3],
    [2, 2],
    [0, null],
    [10, null],
    ["3", null],
  ] as const) {
    state(id);
    assert.equal(await stack.graph.lifecycle("/planner", forEver), seen, String(id));
  }
  assert.equal(await stack.graph.lifecycle("/nobody", forEver), null);
});

test("graph: a trigger that succeeds, one that does not, one that is missing or answers nonsense", limit, async () => {
  await using stack = await connected();
  const { services } = stack.double;
  services.set("/yes", () => ({ success: true, message: "" }));
  services.set("/no", () => ({ success: false, message: "" }));
  services.set("/odd", () => "success");
  services.set("/failing", () => {
    throw new Error("crashed");
  });
  const answers = ["/yes", "/no", "/odd", "/failing", "/missing"].map(
    async (service) => await stack.graph.trigger(service, forEver),
  );
  assert.deepEqual(await Promise.all(answers), [true, false, null, null, null]);
});

test("graph: diagnostics by name, with levels in bytes, digits and nonsense", limit, async () => {
  await using stack = await connected();
  assert.equal(await stack.graph.diagnostics(forEver), null);
  await stack.double.until(() => stack.double.subscribers("/diagnostics_agg") === 1);
  const status = [
    { name: "/Sensors", level: 0 },
    { name: "/Old", level: 50 },
    { name: "/Odd", level: "fine" },
    { name: 5, level: 0 },
  ];
  stack.double.publish("/diagnostics_agg", { status });
  let seen = await stack.graph.diagnostics(forEver);
  while (seen === null) {
    await stack.clock.sleep(10);
    seen = await stack.graph.diagnostics(forEver);
  }
  assert.deepEqual(
    seen.map(({ name, level }) => [name, level]),
    [
      ["/Sensors", 0],
      ["/Old", 2],
      ["/Odd", 3],
    ],
  );
});

test("graph: without rosapi nothing is seen of nodes, and what comes proves one publisher", limit, async () => {
  await using stack = await connected({ rosapi: false });
  const { double, graph, clock } = stack;
  assert.equal(await graph.node("/planner", forEver), null);
  assert.equal((await graph.topic(lidar, forEver))?.publishers, 0);
  await double.until(() => double.subscribers(lidar.topic) === 1);
  double.publish(lidar.topic, {});
  while ((await graph.topic(lidar, forEver))?.publishers !== 1) await clock.sleep(10);
});

async function everythingIsNull(double: RosbridgeDouble, graph: ReturnType<typeof openRosbridgeGraph>): Promise<void> {
  double.services.set("/planner/get_state", () => ({ current_state: { id: 3 } }));
  const seen = await Promise.all([
    graph.node("/planner", forEver),
    graph.topic(lidar, forEver),
    graph.lifecycle("/planner", forEver),
    graph.trigger("/yes", forEver),
    graph.diagnostics(forEver),
  ]);
  assert.deepEqual(seen, [null, null, null, null, null]);
}

test("graph: while the server is away nothing is seen", limit, async () => {
  await using stack = await connected();
  const { double, graph } = stack;
  await double[Symbol.asyncDispose]();
  while ((await graph.node("/planner", forEver)) !== null) await stack.clock.sleep(10);
  await everythingIsNull(double, graph);
});

test("graph: a server that takes questions and never answers is waited for only so long", limit, async () => {
  await using stack = await connected();
  stack.double.freeze();
  assert.equal(await stack.graph.node("/planner", forEver), null);
  assert.equal(await stack.graph.trigger("/yes", AbortSignal.abort()), null);
});

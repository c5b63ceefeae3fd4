import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import type { ChangeInProgress, RosbridgeProviderInput, SignalLine } from "@muto/spec";
import { fastClock } from "../../test/stand-ins/fast-clock.ts";
import { openRosbridgeDouble, type RosbridgeDouble } from "../../test/stand-ins/rosbridge.ts";
import { systemWebSocket } from "../rosbridge/system-web-socket.ts";
import { exampleConfig } from "../safety/example-vehicle.ts";
import type { Heard } from "./line.ts";
import { planOf } from "./mapping.ts";
import { openRosbridgeProvider } from "./rosbridge-provider.ts";

const FACTOR = 20;
const SOURCE = [{ provider: "bridge" }];
const OPERATION = "/api/operation_mode/state";
const RISK = "/api/fail_safe/mrm_state";
const HEARTBEAT = "/api/system/heartbeat";
const limit = { timeout: 20_000 };

type Asked = Partial<Omit<RosbridgeProviderInput, "name" | "kind">>;

/** A provider of the whole vehicle on the double at `url`, and everything that it was heard to say, with ages. */
function openProvider(url: string, asked: Asked = { presets: ["ros-generic"] }, clock = fastClock(FACTOR)) {
  const provider = { name: "bridge", kind: "rosbridge", url, ...asked } as const;
  const signals = { speed: SOURCE, mode: SOURCE, battery: SOURCE, parked: SOURCE, providers: [provider] };
  const config = exampleConfig({ signals });
  const [parsed] = config.signals.providers;
  assert.ok(parsed?.kind === "rosbridge");
  const heard: (readonly [Heard, number])[] = [];
  const waiting = new Set<() => void>();
  const opened = openRosbridgeProvider({
    provider: parsed,
    plan: planOf(config.signals, parsed),
    limits: { speedMps: 0.1, yawRateRadps: 0.05 },
    connector: systemWebSocket(systemRandom()),
    clock,
    random: systemRandom(),
    logger: silentLogger,
    onHeard: (line, ageMs = 0) => {
      heard.push([line, ageMs]);
      for (const look of waiting) look();
    },
  });
  return {
    heard,
    clock,
    tell: (change: ChangeInProgress) => opened.tell(change),
    /** Resolves with the first thing heard from now on for which this holds. */
    next: async (isIt: (line: Heard, ageMs: number) => boolean): Promise<Heard> => {
      const from = heard.length;
      const found = Promise.withResolvers<Heard>();
      const look = () => {
        const hit = heard.slice(from).find(([line, ageMs]) => isIt(line, ageMs));
        if (hit !== undefined) found.resolve(hit[0]);
      };
      waiting.add(look);
      try {
        return await found.promise;
      } finally {
        waiting.delete(look);
      }
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function says(values: Partial<SignalLine>): (line: Heard) => boolean {
  const [[key, value] = []] = Object.entries(values);
  return (line) =>
    line !== "malformed" &&
    line.kind !== "malformed" &&
    key !== undefined &&
    Object.entries(line).some(([name, said]) => name === key && said === value);
}

function odometry(x: number | null, yawRate = 0) {
  return { twist: { twist: { linear: { x, y: 0, z: 0 }, angular: { x: 0, y: 0, z: yawRate } } } };
}

async function subscribed(double: RosbridgeDouble, topic: string): Promise<void> {
  await double.until(() => double.subscribers(topic) === 1);
}

test("rosbridge: a stream of odometry is heard, with its type and a throttle asked for", limit, async () => {
  await using double = await openRosbridgeDouble();
  await using provider = openProvider(double.url);
  await subscribed(double, "/odom");
  const moving = provider.next(says({ speedMps: 2.5 }));
  double.publish("/odom", odometry(2.5, 0.1));
  await moving;
  const asked = double.asked.find(({ topic }) => topic === "/odom");
  assert.deepEqual([asked?.type, asked?.["throttle_rate"]], ["nav_msgs/msg/Odometry", 100]);
  const unknown = provider.next(says({ speedMps: null }));
  double.publish("/odom", odometry(Number.NaN));
  await unknown;
});

test(
  "rosbridge: percent where the preset expects a fraction is malformed, and takes back the battery alone",
  limit,
  async () => {
    await using double = await openRosbridgeDouble();
    await using provider = openProvider(double.url);
    await subscribed(double, "/battery_state");
    const malformed = provider.next((line) => line !== "malformed" && line.kind === "malformed");
    double.publish("/battery_state", { percentage: 87, power_supply_status: 1 });
    assert.deepEqual(await malformed, { kind: "malformed", keys: ["batteryPct"] });
    const half = provider.next(says({ batteryPct: 50 }));
    double.publish("/battery_state", { percentage: 0.5, power_supply_status: 1 });
    await half;
  },
);

test("rosbridge: latched modes are worth something only while the heartbeat beats", limit, async () => {
  await using double = await openRosbridgeDouble();
  await using provider = openProvider(double.url, { presets: ["autoware-adapi"] });
  for (const topic of [OPERATION, RISK]) double.advertise(topic, { latched: true });
  double.publish(OPERATION, { mode: 1, is_autoware_control_enabled: false, is_in_transition: false });
  double.publish(RISK, { state: 1 });
  await subscribed(double, HEARTBEAT);
  await provider.clock.sleep(2_000);
  assert.deepEqual(provider.heard, [], "nobody knows whether the stack lives");
  const manual = provider.next(says({ mode: "manual" }));
  double.publish(HEARTBEAT, { seq: 1 });
  await manual;
  // The heart stops, the connection stays.
  await provider.next((line, ageMs) => says({ mode: "manual" })(line) && ageMs >= 3_000);
  const risk = provider.next((line, ageMs) => says({ mode: "minimal-risk-manoeuvre" })(line) && ageMs < 1_000);
  double.publish(RISK, { state: 2 });
  double.publish(HEARTBEAT, { seq: 2 });
  await risk;
});

test("rosbridge: H6: what a lost connection said ages, and nothing old is said on the next one", limit, async () => {
  await using double = await openRosbridgeDouble();
  await using provider = openProvider(double.url, { presets: ["autoware-adapi"] });
  double.advertise(OPERATION, { latched: true });
  double.advertise(RISK, { latched: true });
  await subscribed(double, HEARTBEAT);
  const autonomous = provider.next(says({ mode: "autonomous" }));
  double.publish(RISK, { state: 1 });
  double.publish(OPERATION, { mode: 2, is_autoware_control_enabled: true, is_in_transition: false });
  double.publish(HEARTBEAT, { seq: 1 });
  await autonomous;
  double.cut();
  await double.until(() => double.asked.filter(({ topic }) => topic === HEARTBEAT).length === 2);
  const from = provider.heard.length;
  await provider.clock.sleep(2_000);
  assert.deepEqual(provider.heard.slice(from), [], "the heart was not heard on this connection");
  const again = provider.next(says({ mode: "autonomous" }));
  double.publish(HEARTBEAT, { seq: 2 });
  await again;
});

test(
  "rosbridge: a latched mode that was published before the server found its publisher is asked for again",
  limit,
  async () => {
    await using double = await openRosbridgeDouble();
    await using provider = openProvider(double.url, { presets: ["autoware-adapi"] });
    await subscribed(double, HEARTBEAT);
    const manual = provider.next(says({ mode: "manual" }));
    double.publishEarly(OPERATION, { mode: 1, is_autoware_control_enabled: false, is_in_transition: false });
    double.publishEarly(RISK, { state: 1 });
    const beating = setInterval(() => double.publish(HEARTBEAT, {}), 10);
    await manual;
    clearInterval(beating);
  },
);

const garbage: readonly (readonly [string, string | Uint8Array])[] = [
  ["no JSON", "speed 5"],
  ["a list", "[1]"],
  ["an object of another protocol", '{"jsonrpc":"2.0"}'],
  ["brackets without end", "[".repeat(100_000)],
  ["a publication without a topic", '{"op":"publish","msg":{}}'],
  ["bytes", new Uint8Array([0xff, 0, 1])],
  ["CBOR whose topic is cut off", new Uint8Array([0xa3, 0x65, 0x74, 0x6f, 0x70, 0x69, 0x63, 0x78])],
];
for (const [name, raw] of garbage) {
  test(`rosbridge: garbage takes everything back: ${name}`, limit, async () => {
    await using double = await openRosbridgeDouble();
    await using provider = openProvider(double.url);
    await subscribed(double, "/odom");
    const malformed = provider.next((line) => line === "malformed");
    double.say(raw);
    await malformed;
    const good = provider.next(says({ speedMps: 1 }));
    double.publish("/odom", odometry(1));
    await good;
  });
}

const unreadable: readonly (readonly [string, string])[] = [
  ["written with NaN as such", '{"op": "publish", "topic": "/odom", "msg": {"twist": NaN}}'],
  ["of two mebibytes", JSON.stringify({ op: "publish", topic: "/odom", msg: { pad: "x".repeat(2 ** 21) } })],
  ["without content", '{"op":"publish","topic":"/odom"}'],
  ["of another shape", '{"op":"publish","topic":"/odom","msg":{"twist":[1]}}'],
  ["nested without end", `{"op":"publish","topic":"/odom","msg":${"[".repeat(1_000)}${"]".repeat(1_000)}}`],
];
for (const [name, raw] of unreadable) {
  test(`rosbridge: a message ${name} is malformed, and the connection goes on`, limit, async () => {
    await using double = await openRosbridgeDouble();
    await using provider = openProvider(double.url);
    await subscribed(double, "/odom");
    const malformed = provider.next((line) => line !== "malformed" && line.kind === "malformed");
    double.say(raw);
    assert.deepEqual(await malformed, { kind: "malformed", keys: ["speedMps"] });
    const good = provider.next(says({ speedMps: 1 }));
    double.publish("/odom", odometry(1));
    await good;
    assert.equal(double.asked.filter(({ topic }) => topic === "/odom").length, 1);
  });
}

test(
  "rosbridge: a server that floods is cut off, what it said is taken back, and it gets another chance",
  limit,
  async () => {
    await using double = await openRosbridgeDouble();
    await using provider = openProvider(double.url, { presets: ["ros-generic"] }, systemClock());
    await subscribed(double, "/odom");
    const malformed = provider.next((line) => line === "malformed");
    const text = JSON.stringify({ op: "publish", topic: "/odom", msg: odometry(0) });
    for (let count = 0; count < 1_500; count += 1) double.say(text);
    await malformed;
    await double.until(() => double.asked.filter(({ topic }) => topic === "/odom").length === 2);
  },
);

test("rosbridge: a connection that died without a word is given up and made anew", limit, async () => {
  const double = await openRosbridgeDouble();
  await using provider = openProvider(double.url);
  await subscribed(double, "/odom");
  double.freeze();
  const { port } = double;
  await provider.clock.sleep(10_000);
  await double[Symbol.asyncDispose]();
  await using next = await openRosbridgeDouble({ port });
  await subscribed(next, "/odom");
  const good = provider.next(says({ speedMps: 1 }));
  next.publish("/odom", odometry(1));
  await good;
});

const change: ChangeInProgress = {
  kind: "muto.change/v1",
  inProgress: true,
  changeId: "01J00000000000000000000000",
  at: "2026-06-01T01:00:00.000Z",
};

test(
  "rosbridge: a change is told on a latched topic, again after a reconnection, and acknowledged on another",
  limit,
  async () => {
    await using double = await openRosbridgeDouble();
    const asked = { change: { topic: "/muto/change", acknowledgementTopic: "/muto/acknowledged" } };
    await using provider = openProvider(double.url, { ...asked, presets: ["ros-generic"] });
    await subscribed(double, "/muto/acknowledged");
    provider.tell(change);
    await double.until(() => double.published.length === 1);
    assert.deepEqual(JSON.parse(JSON.stringify(double.published[0]?.message)), { data: JSON.stringify(change) });
    assert.equal(double.asked.find(({ op }) => op === "advertise")?.["latch"], true);
    const acknowledged = provider.next(says({ changeAcknowledged: change.changeId }));
    double.publish("/muto/acknowledged", { data: change.changeId });
    await acknowledged;
    double.cut();
    await double.until(() => double.published.length === 2);
  },
);

test("rosbridge: a change is told by a service until it takes it, and its success acknowledges", limit, async () => {
  await using double = await openRosbridgeDouble();
  await using provider = openProvider(double.url, { presets: ["ros-generic"], change: { service: "/muto/set" } });
  const answers = [{ success: false }, { success: true }];
  const told: unknown[] = [];
  provider.tell(change);
  await double.until(() => double.asked.some(({ op }) => op === "call_service"));
  const acknowledged = provider.next(says({ changeAcknowledged: change.changeId }));
  double.services.set("/muto/set", (args) => {
    told.push(args);
    return answers.shift() ?? { success: false };
  });
  await acknowledged;
  assert.equal(JSON.stringify(told), '[{"data":true},{"data":true}]');
  const { changeId } = change;
  double.services.set("/muto/set", (args) => void told.push(args));
  provider.tell({ ...change, inProgress: false, changeId });
  await double.until(() => told.length > 2);
  assert.equal(JSON.stringify(told.slice(2)), '[{"data":false}]');
});

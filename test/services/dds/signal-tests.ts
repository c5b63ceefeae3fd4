import assert from "node:assert/strict";
import { test } from "node:test";
import { exampleConfig } from "@muto/agent/safety/example-vehicle";
import { readSource } from "@muto/agent/safety/readings";
import { noSamples, type SignalKey } from "@muto/agent/safety/signals";
import { openSignalReader } from "@muto/agent/signals/signal-reader";
import { systemUdpNetwork } from "@muto/dds/udp-network";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import type { AgentConfigInput } from "@muto/spec";
import { buildPeer, type Vendor } from "./build-peers.ts";
import { startPeer } from "./peer-process.ts";

/*
 * The agent's signals and graph from a real stack of the vendor in MUTO_DDS_VENDOR. Runs in a network of its own only:
 * `vendors.test.ts` starts it.
 */

const vendor: Vendor = process.env["MUTO_DDS_VENDOR"] === "fast" ? "fast" : "cyclone";
const program = await buildPeer(vendor);
const clock = systemClock();
const LEASE_MS = 2_000;
const FRESH_SEC = 1;
const limit = { timeout: 30_000 };
const forEver = new AbortController().signal;

const SOURCE = [{ provider: "robot", freshForSec: FRESH_SEC }];
const MODE = {
  signal: "mode",
  topic: "/vehicle/status/control_mode",
  type: "autoware_vehicle_msgs/msg/ControlModeReport",
  path: ["mode"],
  values: [
    { when: [1, 2, 3], means: "autonomous" },
    { when: [4], means: "manual" },
  ],
  latched: true,
} as const;

const lease = `<LeaseDuration>${LEASE_MS}ms</LeaseDuration>`;
const lo = '<Interfaces><NetworkInterface name="lo" multicast="true"/></Interfaces>';
const CYCLONEDDS_URI = `<CycloneDDS><Domain><General>${lo}<AllowMulticast>true</AllowMulticast></General><Discovery>${lease}</Discovery></Domain></CycloneDDS>`;

const start = (...args: readonly string[]) =>
  vendor === "fast" ? startPeer(program, [`lease=${LEASE_MS}`, ...args]) : startPeer(program, args, { CYCLONEDDS_URI });

async function openVehicle(
  changes: Partial<Extract<NonNullable<AgentConfigInput["signals"]["providers"]>[number], { kind: "dds" }>> = {},
) {
  const provider = { name: "robot", kind: "dds", presets: ["ros-generic"], mappings: [MODE], ...changes } as const;
  const signals = { speed: SOURCE, mode: SOURCE, battery: SOURCE, providers: [provider] };
  const config = exampleConfig({ signals });
  const reader = await openSignalReader({
    config,
    clock,
    disk: systemDisk(),
    random: systemRandom(),
    logger: silentLogger,
    technician: { read: async () => noSamples.technician, watch: () => ({ [Symbol.asyncDispose]: async () => {} }) },
    webSocket: {
      connect: () => {
        throw new Error("no rosbridge is configured");
      },
    },
    udp: systemUdpNetwork(),
  });
  const { graph } = reader;
  assert.ok(graph !== undefined);
  const source = [{ provider: "robot", optional: false, freshForSec: FRESH_SEC }];
  /** What a gate would see: the value, or why there is none. */
  const seen = async <Key extends SignalKey>(key: Key) => {
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const { seen: values, missed } = readSource(key, source, await reader.read(), now);
    return values[0]?.value ?? missed[0]?.problem;
  };
  return {
    graph,
    seen,
    until: async (key: SignalKey, wanted: unknown) => {
      while ((await seen(key)) !== wanted) await clock.sleep(10);
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  };
}

test("speed, yaw rate, battery and a latched mode, and what changes of them", limit, async () => {
  await using peer = await start("odom=20", "battery=10", "mode");
  await using vehicle = await openVehicle();
  await vehicle.until("speedMps", 0.25);
  await vehicle.until("batteryPct", 75);
  await vehicle.until("mode", "manual");
  assert.equal(typeof (await vehicle.seen("yawRateRadps")), "number");
  peer.say("speed 1.5");
  peer.say("mode 1");
  await vehicle.until("speedMps", 1.5);
  await vehicle.until("mode", "autonomous");
  peer.say("mode 6");
  await vehicle.until("mode", "missing");
});

test("H6: a topic falls silent while its publisher lives: streamed goes stale, latched does not", limit, async () => {
  await using peer = await start("odom=20", "battery=10", "mode");
  await using vehicle = await openVehicle();
  await vehicle.until("speedMps", 0.25);
  await vehicle.until("mode", "manual");
  peer.say("rate odom 0");
  await vehicle.until("speedMps", "stale");
  await clock.sleep(2 * FRESH_SEC * 1_000);
  assert.equal(await vehicle.seen("mode"), "manual");
  assert.equal(await vehicle.seen("batteryPct"), 75);
});

test("H6: a stack that is killed takes its latched mode with it when its lease is over", limit, async () => {
  await using peer = await start("odom=20", "mode", "nodes16");
  await using vehicle = await openVehicle();
  await vehicle.until("mode", "manual");
  await vehicle.until("speedMps", 0.25);
  await peer.kill();
  const killedMs = clock.monotonicMs();
  await vehicle.until("speedMps", "stale");
  await vehicle.until("mode", "stale");
  assert.ok(clock.monotonicMs() - killedMs < LEASE_MS + FRESH_SEC * 1_000 + 1_500);
  while ((await vehicle.graph.node("/planner", forEver)) !== false) await clock.sleep(10);
  await using _next = await start("odom=20", "mode", "nodes16");
  await vehicle.until("mode", "manual");
  await vehicle.until("speedMps", 0.25);
});

test("the graph: nodes, a rate, publishers; what DDS cannot tell is unknown", limit, async () => {
  await using _peer = await start("odom=20", "mode", "nodes24");
  await using vehicle = await openVehicle();
  const { graph } = vehicle;
  while ((await graph.node("/planner", forEver)) !== true) await clock.sleep(10);
  assert.equal(await graph.node("/perception/lidar", forEver), true);
  while ((await graph.node("/nobody", forEver)) !== false) await clock.sleep(10);
  const odom = { topic: "/odom", messageType: "nav_msgs/msg/Odometry", windowSec: 2 };
  let topic = await graph.topic(odom, forEver);
  while (topic?.isWindowFull !== true) {
    await clock.sleep(50);
    topic = await graph.topic(odom, forEver);
  }
  assert.ok(topic.hz > 17 && topic.hz < 23, `${topic.hz} Hz`);
  assert.ok(topic.publishers === 1 && topic.ageMs !== null && topic.ageMs < 500);
  const others = [
    graph.trigger("/planner/is_active", forEver),
    graph.lifecycle("/planner", forEver),
    graph.diagnostics(forEver),
  ];
  assert.deepEqual(await Promise.all(others), [null, null, null]);
});

test("an interface that is not there yet: nothing is known, and nothing fails", limit, async () => {
  await using vehicle = await openVehicle({ interfaceAddress: "192.0.2.1" });
  assert.equal(await vehicle.seen("speedMps"), "missing");
  assert.equal(await vehicle.graph.node("/planner", forEver), null);
  assert.equal(
    await vehicle.graph.topic({ topic: "/odom", messageType: "nav_msgs/msg/Odometry", windowSec: 1 }, forEver),
    null,
  );
});

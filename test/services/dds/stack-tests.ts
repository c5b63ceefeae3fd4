import assert from "node:assert/strict";
import { test } from "node:test";
import type { UdpNetwork } from "@muto/dds/network";
import { systemUdpNetwork } from "@muto/dds/udp-network";
import { seededRandom } from "@muto/kit/random";
import { buildPeer, type Vendor } from "./build-peers.ts";
import { clock, hear, nodes, open, until, within } from "./listening.ts";
import { startPeer } from "./peer-process.ts";

/*
 * The subscriber against a real stack of the vendor in MUTO_DDS_VENDOR. Runs in a network of its own only: `vendors.test.ts` starts it.
 */

const vendor: Vendor = process.env["MUTO_DDS_VENDOR"] === "fast" ? "fast" : "cyclone";
const program = await buildPeer(vendor);
const LEASE_MS = 2_000;

/** A peer whose lease is short, so that a killed one need not be waited for. */
const start = (...args: readonly string[]) =>
  vendor === "fast"
    ? startPeer(program, [`lease=${LEASE_MS}`, ...args])
    : startPeer(program, args, { CYCLONEDDS_URI: cycloneConfig(`<LeaseDuration>${LEASE_MS}ms</LeaseDuration>`) });

function cycloneConfig(discovery: string, general = "<AllowMulticast>true</AllowMulticast>"): string {
  const lo = '<Interfaces><NetworkInterface name="lo" multicast="true"/></Interfaces>';
  return `<CycloneDDS><Domain><General>${lo}${general}</General><Discovery>${discovery}</Discovery></Domain></CycloneDDS>`;
}

const NODES = ["/perception/lidar", "/planner"];

test("every signal of a vehicle is read, a latched one that was written long before included", async () => {
  await using _peer = await start("odom=20", "velocity=10", "battery=10", "mode");
  await using participant = await open();
  const mode = hear(
    participant,
    "/vehicle/status/control_mode",
    "autoware_vehicle_msgs/msg/ControlModeReport",
    ["mode"],
    "latched",
  );
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", [
    "twist.twist.linear.x",
    "header.frame_id",
    "pose.pose.orientation.w",
  ]);
  const velocity = hear(participant, "/vehicle/status/velocity_status", "autoware_vehicle_msgs/msg/VelocityReport", [
    "longitudinal_velocity",
    "heading_rate",
  ]);
  const battery = hear(participant, "/battery_state", "sensor_msgs/msg/BatteryState", [
    "percentage",
    "present",
    "cell_voltage[1]",
    "serial_number",
  ]);
  const [latched, ...others] = await Promise.all([mode.next(), odom.next(), velocity.next(), battery.next()]);
  assert.deepEqual(latched, [4]);
  assert.deepEqual(others, [
    [0.25, "odom", vendor === "fast" ? 0 : 1],
    [0.25, -0.5],
    [0.75, true, 3.75, "B-0042"],
  ]);
});

test("what changes is heard: a new speed, a new mode", async () => {
  await using peer = await start("odom=50", "mode");
  await using participant = await open();
  const mode = hear(participant, "/vehicle/status/control_mode", "autoware_vehicle_msgs/msg/ControlModeReport", [
    "mode",
  ]);
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["twist.twist.linear.x"]);
  await Promise.all([mode.next(), odom.next()]);
  const changed = mode.next();
  peer.say("speed 1.5");
  peer.say("mode 1");
  assert.deepEqual(await changed, [1]);
  let speed = await odom.next();
  for (let tries = 0; speed[0] !== 1.5 && tries < 100; tries++) speed = await odom.next();
  assert.deepEqual(speed, [1.5]);
});

test("an array that needs many datagrams comes whole", async () => {
  await using _peer = await start("diagnostics=5");
  await using participant = await open();
  const diagnostics = hear(participant, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", [
    "status[*].level",
    "status[699].name",
  ]);
  for (let count = 0; count < 3; count++) {
    const [levels, name] = await diagnostics.next();
    assert.ok(Array.isArray(levels) && levels.length === 700);
    assert.deepEqual([levels[0], levels[699], name], [0, 2, "/sensing/lidar/unit_699: connection"]);
  }
});

for (const gids of ["nodes16", "nodes24"])
  test(`nodes by name, as ROS announces them with ${gids.slice(5)} bytes of Gid`, async () => {
    await using _peer = await start(gids);
    await using participant = await open();
    await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
    assert.deepEqual(nodes(participant), NODES);
    assert.equal(participant.graph().participants[0]?.vendor, vendor === "fast" ? "fast-dds" : "cyclone-dds");
  });

test("rates: 20 Hz, then throttled to 5 Hz, of a topic and of one that nobody publishes", async () => {
  await using peer = await start("odom=20");
  await using participant = await open();
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["header.stamp.sec"]);
  await odom.next();
  const rateOver = async (ms: number) => {
    await clock.sleep(ms + 100);
    return participant.topic("/odom", ms).received?.rateHz ?? 0;
  };
  const fast = await rateOver(3_000);
  assert.ok(fast > 18.5 && fast < 21.5, `${fast} Hz`);
  peer.say("rate odom 5");
  const throttled = await rateOver(3_000);
  assert.ok(throttled > 4.2 && throttled < 5.8, `${throttled} Hz`);
  peer.say("rate odom 0");
  assert.equal(await rateOver(1_000), 0);
  const { publishers, matched, received } = participant.topic("/odom");
  assert.deepEqual([publishers, matched, received?.liveWriters], [1, 1, 1]);
  assert.deepEqual([participant.topic("/nothing").publishers, participant.topic("/nothing").received], [0, undefined]);
});

test("a publisher that cannot be heard as asked is shown with the reason", async () => {
  await using _peer = await start("battery=10");
  await using participant = await open();
  hear(participant, "/battery_state", "sensor_msgs/msg/BatteryState", ["percentage"], "latched");
  await until(participant, "the topic", () => participant.graph().topics.length === 1);
  const [topic] = participant.graph().topics;
  assert.equal(topic?.name, "/battery_state");
  assert.deepEqual(topic.publishers[0]?.incompatible, ["reliability", "durability"]);
  assert.equal(participant.topic("/battery_state").matched, 0);
});

test("a killed stack is gone within its lease, and one that leaves is gone at once", async () => {
  await using participant = await open();
  const alive = () => nodes(participant).length === NODES.length;
  const gone = () => participant.graph().participants.length === 0;
  await using killed = await start("nodes16", "odom=5");
  await until(participant, "the nodes", alive);
  await killed.kill();
  assert.ok(alive(), "it is believed in for its lease");
  const staleMs = await until(participant, "the end of the lease", gone);
  assert.ok(staleMs <= LEASE_MS + 500, `${staleMs} ms`);
  assert.deepEqual(nodes(participant), []);
  assert.equal(participant.topic("/odom").publishers, 0);

  await using leaving = await start("nodes16", "odom=5");
  const againMs = await until(participant, "the restarted stack", alive);
  await leaving.leave();
  const goneMs = await until(participant, "the goodbye", gone);
  assert.ok(goneMs < 500, `${goneMs} ms`);
  assert.ok(againMs < 3_000, `${againMs} ms`);
});

test("a stack that stood still for longer than its lease is heard again", async () => {
  await using peer = await start("odom=20", "mode", "nodes16");
  await using participant = await open();
  const [topic, type] = ["/vehicle/status/control_mode", "autoware_vehicle_msgs/msg/ControlModeReport"];
  const mode = hear(participant, topic, type, ["mode"], "latched");
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["twist.twist.linear.x"]);
  await Promise.all([mode.next(), odom.next()]);
  await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
  peer.freeze(true);
  await until(participant, "the end of the lease", () => participant.graph().participants.length === 0);
  const [again, latched] = [odom.next(), mode.next()];
  peer.freeze(false);
  await until(participant, "the nodes again", () => nodes(participant).length === NODES.length);
  assert.deepEqual(await Promise.all([latched, again]), [[4], [0.25]]);
});

test("when we fell silent for longer than our own lease, we are heard of again, and hear", async () => {
  await using _peer = await start("odom=20", "nodes16");
  const cable = { cut: false };
  const system = systemUdpNetwork();
  const cuttable: UdpNetwork = {
    open: async ({ onDatagram, ...options }) => {
      const onReceived = (...received: Parameters<typeof onDatagram>) => {
        if (!cable.cut) onDatagram(...received);
      };
      const socket = await system.open({ ...options, onDatagram: onReceived });
      return {
        port: socket.port,
        send: async (bytes, to) => {
          if (!cable.cut) await socket.send(bytes, to);
        },
        [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose](),
      };
    },
  };
  await using participant = await open({ network: cuttable, leaseMs: 1_000 });
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["twist.twist.linear.x"]);
  await odom.next();
  cable.cut = true;
  // Shorter than the lease of the peer, so that it is forgotten by nobody while we are.
  await clock.sleep(1_600);
  assert.equal(participant.topic("/odom").publishers, 1);
  const again = odom.next();
  cable.cut = false;
  assert.deepEqual(await again, [0.25]);
});

test("without multicast, peers are found by asking the ports they may have", async () => {
  await using _peer = await (vendor === "cyclone"
    ? startPeer(program, ["mode", "nodes16"], {
        CYCLONEDDS_URI: cycloneConfig(
          '<ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers>',
          "<AllowMulticast>false</AllowMulticast>",
        ),
      })
    : startPeer(program, ["mode", "nodes16"]));
  await using participant = await open({ multicast: false, initialPeers: ["127.0.0.1"] });
  const mode = hear(participant, "/vehicle/status/control_mode", "autoware_vehicle_msgs/msg/ControlModeReport", [
    "mode",
  ]);
  assert.deepEqual(await mode.next(), [4]);
  await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
});

test("over a network that loses every fifth datagram, reliable topics come whole and in order", async () => {
  await using _peer = await start("odom=50", "diagnostics=5", "mode", "nodes16");
  const chance = seededRandom(5);
  const system = systemUdpNetwork();
  const losing: UdpNetwork = {
    open: async ({ onDatagram, ...options }) =>
      await system.open({
        ...options,
        onDatagram: (bytes, from) => {
          if (chance.fraction() >= 0.2) onDatagram(bytes, from);
        },
      }),
  };
  await using participant = await open({ network: losing });
  const mode = hear(
    participant,
    "/vehicle/status/control_mode",
    "autoware_vehicle_msgs/msg/ControlModeReport",
    ["mode"],
    "latched",
  );
  assert.deepEqual(await mode.next(), [4]);
  for (const [topic, type, wanted] of [
    ["/odom", "nav_msgs/msg/Odometry", 100],
    ["/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", 5],
  ] as const) {
    const sequences: number[] = [];
    const enough = Promise.withResolvers<void>();
    using _subscription = participant.subscribe({
      topic,
      type,
      onSample: ({ sequence }) => {
        sequences.push(sequence);
        if (sequences.length >= wanted) enough.resolve();
      },
    });
    await within(enough.promise, topic);
    const [first = 0] = sequences;
    if (topic === "/odom")
      assert.deepEqual(
        sequences,
        Array.from(sequences, (_, index) => first + index),
      );
    else
      assert.deepEqual(
        sequences,
        sequences.toSorted((a, b) => a - b),
      );
  }
  await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
});

test("several stacks at once, each with the same topics", async () => {
  await using _one = await start("odom=10", "nodes16");
  await using _two = await start("odom=10", "nodes24");
  await using participant = await open();
  hear(participant, "/odom", "nav_msgs/msg/Odometry", ["header.stamp.sec"]);
  await until(participant, "both", () => nodes(participant).length === 2 * NODES.length);
  await until(participant, "both topics", () => participant.topic("/odom").matched === 2);
  const writers = new Set(
    participant.graph().topics.flatMap(({ publishers }) => publishers.map(({ writer }) => writer)),
  );
  assert.equal(writers.size, 2);
});

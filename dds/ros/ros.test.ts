import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RateMeter } from "../reader/rate-meter.ts";
import { ByteWriter } from "../wire/bytes.ts";
import { ddsTopic, ddsType, nodeName, rosTopic, rosType } from "./names.ts";
import { readNodes } from "./nodes.ts";

describe("names", () => {
  const topics: readonly (readonly [string, string | undefined])[] = [
    ["/odom", "rt/odom"],
    ["/vehicle/status/control_mode", "rt/vehicle/status/control_mode"],
    ["odom", undefined],
    ["/", undefined],
    ["/odom/", undefined],
    ["/a//b", undefined],
    ["/1a", undefined],
    ["/a b", undefined],
    [`/${"a".repeat(300)}`, undefined],
  ];
  for (const [ros, dds] of topics)
    test(`topic ${ros.slice(0, 40)}`, () => {
      assert.equal(ddsTopic(ros), dds);
      if (dds !== undefined) assert.equal(rosTopic(dds), ros);
    });

  test("services and foreign topics are no ROS topics", () => {
    for (const name of ["rq/add_two_intsRequest", "rr/add_two_intsReply", "ros_discovery_info", "Square", "rt"])
      assert.equal(rosTopic(name), undefined);
  });

  const types: readonly (readonly [string, string | undefined])[] = [
    ["nav_msgs/msg/Odometry", "nav_msgs::msg::dds_::Odometry_"],
    ["std_srvs/srv/Trigger_Request", "std_srvs::srv::dds_::Trigger_Request_"],
    ["nav_msgs/Odometry", undefined],
    ["Nav/msg/Odometry", undefined],
    ["nav_msgs/msg/Odo-metry", undefined],
  ];
  for (const [ros, dds] of types)
    test(`type ${ros}`, () => {
      assert.equal(ddsType(ros), dds);
      if (dds !== undefined) assert.equal(rosType(dds), ros);
    });

  test("a node is its namespace and its name", () => {
    assert.equal(nodeName("/", "planner"), "/planner");
    assert.equal(nodeName("/a/b", "c"), "/a/b/c");
    assert.equal(nodeName("a", "c"), undefined);
    assert.equal(nodeName("/", ""), undefined);
    assert.equal(nodeName("/", "x\u0000"), undefined);
  });
});

describe("nodes of a participant", () => {
  function info(gidBytes: 16 | 24, littleEndian: boolean, names: readonly (readonly [string, string])[]): Uint8Array {
    const writer = new ByteWriter(littleEndian);
    const gid = () => writer.raw(new Uint8Array(gidBytes).fill(1, 0, 16));
    const text = (value: string) =>
      writer
        .align(4)
        .u32(value.length + 1)
        .raw(Buffer.from(`${value}\0`));
    gid();
    writer.u32(names.length);
    for (const [namespace, name] of names) {
      text(namespace);
      text(name);
      writer.align(4).u32(2);
      gid();
      gid();
      writer.u32(0);
    }
    return Uint8Array.from([0, littleEndian ? 1 : 0, 0, 0, ...writer.bytesWritten()]);
  }

  for (const gidBytes of [16, 24] as const)
    for (const littleEndian of [true, false])
      test(`Gids of ${gidBytes} bytes, ${littleEndian ? "little" : "big"}-endian`, () => {
        const names = [
          ["/perception", "lidar"],
          ["/", "planner"],
        ] as const;
        assert.deepEqual(readNodes(info(gidBytes, littleEndian, names)), ["/perception/lidar", "/planner"]);
        // A participant without nodes: with Gids of 24 bytes, the shorter form would find nothing as well, and bytes left over.
        assert.deepEqual(readNodes(info(gidBytes, littleEndian, [])), []);
      });

  test("anything else is no list of nodes", () => {
    assert.equal(readNodes(new Uint8Array(0)), undefined);
    assert.equal(readNodes(info(16, true, [["bad", "x"]])), undefined);
    assert.equal(readNodes(info(16, true, [["/", "x"]]).subarray(0, 60)), undefined);
    assert.equal(
      readNodes(
        info(
          16,
          true,
          Array.from({ length: 300 }, () => ["/", "x"] as const),
        ),
      ),
      undefined,
    );
  });
});

describe("rates", () => {
  test("20 Hz is 20 Hz, and falls when the topic falls silent", () => {
    const meter = new RateMeter(0);
    for (let atMs = 0; atMs <= 10_000; atMs += 50) meter.record(atMs);
    assert.deepEqual(meter.read(10_000, 5_000), { samples: 201, rateHz: 20, observedMs: 5_000, newestAgeMs: 0 });
    assert.equal(meter.read(12_500, 5_000).rateHz, 10);
    assert.deepEqual(meter.read(20_000, 5_000), { samples: 201, rateHz: 0, observedMs: 5_000, newestAgeMs: 10_000 });
  });

  test("a young subscription says how little it has seen", () => {
    const meter = new RateMeter(1_000);
    assert.deepEqual(meter.read(1_000, 5_000), { samples: 0, rateHz: 0, observedMs: 0, newestAgeMs: undefined });
    meter.record(1_100);
    assert.deepEqual(meter.read(1_500, 5_000), { samples: 1, rateHz: 2, observedMs: 500, newestAgeMs: 400 });
  });

  test("a thousand a second is measured over what is remembered", () => {
    const meter = new RateMeter(0);
    for (let atMs = 0; atMs < 20_000; atMs++) meter.record(atMs);
    const { rateHz, observedMs } = meter.read(20_000, 5_000);
    assert.ok(Math.abs(rateHz - 1_000) < 2, `${rateHz}`);
    assert.ok(observedMs > 1_000 && observedMs < 1_100);
  });
});

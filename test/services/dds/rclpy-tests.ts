import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { clock, hear, nodes, open, until } from "./listening.ts";
import { startPeer } from "./peer-process.ts";
import { pythonWithRclpy } from "./rclpy.ts";

/*
 * The subscriber against real ROS 2: nodes of rclpy on rmw_fastrtps. Runs in a network of its own only: `rclpy.test.ts` starts it.
 */

const python = await pythonWithRclpy();
const stack = join(import.meta.dirname, "peers", "rclpy_stack.py");
const start = (env: Readonly<Record<string, string>> = {}) =>
  startPeer(python, [stack], { RMW_IMPLEMENTATION: "rmw_fastrtps_cpp", ...env });
const NODES = ["/driver", "/perception/planner"];

test("topics of every kind, nodes, rates and a life cycle, and a stack that stops is gone at once", async () => {
  await using participant = await open();
  await using running = await start();
  const latched = hear(participant, "/latched", "std_msgs/msg/String", ["data"], "latched");
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["twist.twist.linear.x", "header.frame_id"]);
  const sensor = hear(participant, "/sensor", "std_msgs/msg/Bool", ["data"]);
  const diagnostics = hear(participant, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", [
    "status[*].level",
    "status[699].name",
  ]);
  const driver = hear(participant, "/driver/transition_event", "lifecycle_msgs/msg/TransitionEvent", [
    "goal_state.id",
    "goal_state.label",
  ]);
  const [first, second, third, [levels, name]] = await Promise.all([
    latched.next(),
    odom.next(),
    sensor.next(),
    diagnostics.next(),
  ]);
  assert.deepEqual([first, second, third], [["once"], [0.25, "odom"], [true]]);
  assert.ok(levels instanceof Uint8Array || Array.isArray(levels));
  assert.deepEqual([levels.length, levels[699], name], [700, 2, "unit 699"]);

  await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
  assert.deepEqual(nodes(participant), NODES);
  await until(participant, "the life cycle", () => participant.topic("/driver/transition_event").matched === 1);
  await clock.sleep(500);
  const transition = driver.next();
  running.say("configure");
  assert.deepEqual((await transition)[1], "configuring");

  await clock.sleep(2_000);
  const rateHz = participant.topic("/odom", 2_000).received?.rateHz ?? 0;
  assert.ok(rateHz > 18 && rateHz < 22, `${rateHz} Hz`);
  const topics = participant.graph().topics.map((topic) => `${topic.name} ${topic.type}`);
  assert.ok(topics.includes("/odom nav_msgs/msg/Odometry"));
  await running.leave();
  const goneMs = await until(participant, "the goodbye", () => participant.graph().participants.length === 0);
  assert.ok(goneMs < 1_000, `${goneMs} ms`);
});

test("a stack that discovers only on its own computer, without multicast", async () => {
  await using _running = await start({ ROS_AUTOMATIC_DISCOVERY_RANGE: "LOCALHOST" });
  await using participant = await open({ multicast: false, initialPeers: ["127.0.0.1"] });
  const odom = hear(participant, "/odom", "nav_msgs/msg/Odometry", ["twist.twist.linear.x"]);
  assert.deepEqual(await odom.next(), [0.25]);
  await until(participant, "the nodes", () => nodes(participant).length === NODES.length);
});

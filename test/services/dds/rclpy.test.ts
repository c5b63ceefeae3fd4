import assert from "node:assert/strict";
import { before, test } from "node:test";
import { runInOwnNetwork } from "./own-network.ts";
import { pythonWithRclpy } from "./rclpy.ts";

before(async () => {
  // Before the network is cut off, because it may have to be installed.
  await pythonWithRclpy();
});

test("a real ROS 2 stack is heard: rclpy on rmw_fastrtps", async () => {
  const { code, passed, output } = await runInOwnNetwork("rclpy-tests.ts", {});
  assert.equal(code, 0, output);
  assert.equal(passed, 2, output);
});

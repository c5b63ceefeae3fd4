import assert from "node:assert/strict";
import { before, test } from "node:test";
import { buildPeer } from "./build-peers.ts";
import { runInOwnNetwork } from "./own-network.ts";

const TESTS_MIN = 10;

before(async () => {
  // Before the networks are cut off: building may install packages.
  for (const vendor of ["cyclone", "fast"] as const) await buildPeer(vendor);
});

for (const [vendor, name] of [
  ["cyclone", "Cyclone DDS"],
  ["fast", "Fast DDS"],
] as const)
  test(`a real ${name} stack is heard as ROS 2 would hear it`, async () => {
    const { code, passed, output } = await runInOwnNetwork("stack-tests.ts", { MUTO_DDS_VENDOR: vendor });
    assert.equal(code, 0, output);
    assert.ok(passed >= TESTS_MIN, `only ${passed} tests ran`);
  });

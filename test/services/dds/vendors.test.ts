import assert from "node:assert/strict";
import { before, test } from "node:test";
import { buildPeer } from "./build-peers.ts";
import { runInOwnNetwork } from "./own-network.ts";

const FILES = [
  { file: "stack-tests.ts", testsMin: 10, what: "is heard as ROS 2 would hear it" },
  { file: "signal-tests.ts", testsMin: 5, what: "gives the agent its signals and its graph" },
];

before(async () => {
  // Before the networks are cut off: building may install packages.
  for (const vendor of ["cyclone", "fast"] as const) await buildPeer(vendor);
});

for (const [vendor, name] of [
  ["cyclone", "Cyclone DDS"],
  ["fast", "Fast DDS"],
] as const)
  for (const { file, testsMin, what } of FILES)
    test(`a real ${name} stack ${what}`, async () => {
      const { code, passed, output } = await runInOwnNetwork(file, { MUTO_DDS_VENDOR: vendor });
      assert.equal(code, 0, output);
      assert.ok(passed >= testsMin, `only ${passed} tests ran`);
    });

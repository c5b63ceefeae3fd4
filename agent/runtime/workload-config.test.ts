import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { NativeWorkload, StackManifest } from "@muto/spec";
import { manifestOf, workloadOf } from "./test-bench.ts";
import { programPath, workloadConfigHash, workloadEnvironment } from "./workload-config.ts";

const workload: NativeWorkload = { ...workloadOf("nav"), argv: ["bin/nav", "--fast"], env: { A: "1", B: "2" } };
const manifest: StackManifest = manifestOf([workload]);
const hash = (change: Partial<NativeWorkload> = {}, ros: StackManifest["ros"] = manifest.ros) =>
  workloadConfigHash({ ...manifest, ros }, { ...workload, ...change });

describe("the configuration hash", () => {
  test("is the same for the same configuration in another order", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), (env) => {
        const reversed = Object.fromEntries(Object.entries(env).toReversed());
        assert.equal(hash({ env }), hash({ env: reversed }));
      }),
    );
    assert.match(hash(), /^sha256:[0-9a-f]{64}$/);
  });

  const changes: readonly (readonly [string, Partial<NativeWorkload>, StackManifest["ros"]?])[] = [
    ["an argument", { argv: ["bin/nav", "--slow"] }],
    ["arguments cut differently", { argv: ["bin/nav", "--fa", "st"] }],
    ["a variable", { env: { A: "1", B: "3" } }],
    ["a variable's name", { env: { A: "1", C: "2" } }],
    ["the archive", { archive: `sha256:${"c".repeat(64)}` }],
    ["the stop signal", { stop: { signal: "SIGTERM", limitSec: 1 } }],
    ["the stop limit", { stop: { signal: "SIGINT", limitSec: 2 } }],
    ["a setup file", { setup: ["setup.bash"] }],
    ["a launch argument", { launchArguments: { map: "a" } }],
    ["the value of a launch argument", { launchArguments: { map: "b" } }],
    ["a parameter file", { params: [{ name: "nav.yaml", text: "a" }] }],
    ["the text of a parameter file", { params: [{ name: "nav.yaml", text: "b" }] }],
    ["a limit", { resources: { memoryMb: 64 } }],
    ["a limit of another kind", { resources: { pids: 64 } }],
    ["the GPUs", { gpus: "all" }],
    ["the ROS domain", {}, { distro: "humble", domainId: 18 }],
    ["the middleware", {}, { distro: "humble", domainId: 17, rmw: "rmw_cyclonedds_cpp" }],
  ];
  for (const [name, change, ros] of changes) {
    test(`differs with ${name}`, () => assert.notEqual(hash(change, ros), hash()));
  }

  test("is another one for each of these", () => {
    const hashes = changes.map(([, change, ros]) => hash(change, ros));
    assert.equal(new Set(hashes).size, changes.length);
  });

  test("does not differ with what says nothing about the process", () => {
    assert.equal(hash({ dependsOn: [{ workload: "other", condition: "ready" }], oneshot: true }), hash());
    assert.equal(workloadConfigHash({ ...manifest, version: "2.0.0" }, workload), hash());
  });
});

describe("the environment of a workload", () => {
  const marks = { probeAddress: "127.0.0.1", instanceId: "i", set: "sha256:s" };

  test("has nothing of the host but what is listed", () => {
    const host = { PATH: "/bin", HOME: "/home/robot", MUTO_TOKEN: "secret", NODE_OPTIONS: "--inspect" };
    const environment = workloadEnvironment(manifest, { ...workload, env: {} }, host, marks);
    assert.equal(environment["PATH"], "/bin");
    assert.equal(environment["HOME"], "/home/robot");
    assert.ok(!("MUTO_TOKEN" in environment));
    assert.ok(!("NODE_OPTIONS" in environment));
  });

  test("carries the manifest's ROS settings, which the workload may change, and our marks, which it may not", () => {
    const env = { ROS_DOMAIN_ID: "99", MUTO_INSTANCE: "other" };
    const environment = workloadEnvironment(manifest, { ...workload, env }, {}, marks);
    assert.equal(environment["ROS_DISTRO"], "humble");
    assert.equal(environment["ROS_DOMAIN_ID"], "99");
    assert.equal(environment["MUTO_INSTANCE"], "i");
    assert.ok(!("RMW_IMPLEMENTATION" in environment));
  });
});

test("a relative program stays inside the archive", () => {
  const inside = ["nav", "bin/nav", "./nav", "a/../nav", "..nav", "bin/..."];
  const outside = ["..", ".", "", "../nav", "a/../../nav", "bin/../../archive2/nav", "../archive"];
  for (const program of inside) assert.ok(programPath("/set/archive", program)?.startsWith("/set/archive/"), program);
  for (const program of outside) assert.equal(programPath("/set/archive", program), undefined, program);
  assert.equal(programPath("/set/archive", "/opt/ros/bin/ros2"), "/opt/ros/bin/ros2");
});

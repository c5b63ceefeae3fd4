import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Clock } from "@muto/kit/clock";
import { parseStackManifest } from "@muto/spec";
import type { Probe, StackManifest } from "@muto/spec";
import { SimulatedRuntime } from "./runtime.ts";

const node: Probe = { kind: "node", name: "planner-there", workload: "main", node: "/planner", liveness: false };
const points: Probe = {
  kind: "topic",
  name: "points-flow",
  workload: "main",
  topic: "/points",
  messageType: "sensor_msgs/msg/PointCloud2",
  hzMin: 10,
  windowSec: 3,
  publishersMin: 1,
  liveness: false,
};
const never = new AbortController().signal;

function manifestWith(env: Readonly<Record<string, string>>): StackManifest {
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: "stack",
    version: "1.0.0",
    compatibility: { vehicleModels: [], os: [], rosDistro: [] },
    resourceProfile: { diskMbMin: 1 },
    healthModel: { readinessTimeoutSec: 10 },
    workloads: [{ name: "main", type: "native", archive: `sha256:${"a".repeat(64)}`, argv: ["main"], env }],
  });
  assert.ok(parsed.ok);
  return parsed.value;
}

describe("the simulated ROS graph", () => {
  async function started(env: Readonly<Record<string, string>>) {
    let nowMs = 0;
    const clock: Clock = { monotonicMs: () => nowMs, wallMs: () => nowMs, sleep: async () => {} };
    const runtime = new SimulatedRuntime({ clock, bootId: "boot" });
    const manifest = manifestWith(env);
    const [workload] = manifest.workloads;
    assert.ok(workload !== undefined);
    await runtime.start({ manifestDigest: "sha256:1", folder: "", manifest }, workload, "i");
    const look = async (probe: Probe) => {
      const [instance] = await runtime.inspect();
      const { met, problem } = await runtime.look(probe, instance, never);
      return problem ?? (met ? "met" : "");
    };
    return { graph: runtime.graph, look, pass: (ms: number) => void (nowMs += ms) };
  }

  test("is well once the workload is ready, until a fault is set on the vehicle", async () => {
    const { graph, look, pass } = await started({});
    assert.equal(await look(node), "unreachable");
    pass(1_000);
    assert.deepEqual([await look(node), await look(points)], ["met", "met"]);
    graph.leave("/planner");
    graph.topics.set("/points", { hz: 3 });
    assert.deepEqual([await look(node), await look(points)], ["absent", "too-slow"]);
    graph.rejoin("/planner");
    graph.isConnected = false;
    assert.deepEqual([await look(node), await look(points)], ["not-seen", "not-seen"]);
  });

  test("a release says itself when its part of the graph is gone", async () => {
    const { look, pass } = await started({ MUTO_SIM_DRIFT_MS: "5000" });
    pass(4_000);
    assert.deepEqual([await look(node), await look(points)], ["met", "met"]);
    pass(1_000);
    assert.deepEqual([await look(node), await look(points)], ["absent", "too-few-publishers"]);
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { refusedByVehicle } from "@muto/agent/reconcile/allowance";
import { parseAgentConfig, parseStackManifest } from "@muto/spec";
import type { StackManifest } from "@muto/spec";
import { needsText, stackNeeds } from "./stack-needs.ts";
import type { StackNeeds } from "./stack-needs.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

function stackOf(...workloads: readonly Record<string, unknown>[]): StackManifest {
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: "stack",
    version: "1",
    compatibility: { vehicleModels: [], os: [], rosDistro: [] },
    resourceProfile: { diskMbMin: 1 },
    healthModel: { readinessTimeoutSec: 10 },
    workloads: workloads.map((workload, index) => ({ name: `w${index}`, ...workload })),
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

/** A vehicle that allows what is needed, and nothing else. */
function vehicleFor(needs: StackNeeds) {
  const { devices, mounts, writable, capabilities, privileged, gpus, hostNetwork, hostIpc } = needs;
  const allow = { devices, mounts, writable, capabilities, privileged, gpus, hostNetwork, hostIpc };
  const parsed = parseAgentConfig({
    kind: "muto.agent/v1",
    vehicle: { id: "vehicle-a", model: "m", os: "o", rosDistro: "r", timezone: "UTC" },
    cloud: { url: "https://muto.example.com" },
    stateDir: "/var/lib/muto",
    trustFile: "/etc/muto/trust.json",
    signals: { speed: "none", mode: "none", battery: "none", providers: [] },
    runtime: {
      adapter: needs.native ? "process" : "none",
      ...(needs.engine ? { oci: {} } : {}),
      allow: { ...allow, rootUser: needs.rootUser.length > 0 },
    },
  });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value.runtime;
}

const native = { type: "native", archive: DIGEST, argv: ["run"] };
const oci = { type: "oci", image: DIGEST, network: "none", ipc: "private", user: "1000" };

const situations: readonly (readonly [name: string, workload: Record<string, unknown>, line: RegExp])[] = [
  ["nothing", native, /^ {2}nothing$/m],
  ["an engine", oci, /runtime\.oci: \{\}/],
  ["the host's network", { ...oci, network: "host" }, /allow\.hostNetwork: true/],
  ["the host's memory", { ...oci, ipc: "host" }, /allow\.hostIpc: true/],
  ["root", { ...oci, user: "0:1000" }, /allow\.rootUser: true/],
  ["whoever the image says", { ...oci, user: undefined }, /allow\.rootUser: true/],
  ["devices", { ...oci, devices: [{ path: "/dev/b" }, { path: "/dev/a" }] }, /allow\.devices: \[\/dev\/a, \/dev\/b\]/],
  ["a folder to read", { ...oci, mounts: [{ source: "/srv/a", target: "/a" }] }, /allow\.mounts: \[\/srv\/a\]/],
  [
    "a folder to write",
    { ...oci, mounts: [{ source: "/srv/a", target: "/a", readOnly: false }] },
    /allow\.writable: \[\/srv\/a\]/,
  ],
  ["capabilities", { ...oci, capabilities: ["SYS_NICE", "NET_RAW"] }, /allow\.capabilities: \[NET_RAW, SYS_NICE\]/],
  ["everything", { ...oci, privileged: true }, /allow\.privileged: true/],
  ["GPUs of a container", { ...oci, gpus: "all" }, /allow\.gpus: true/],
  ["GPUs of a native workload", { ...native, gpus: "all" }, /allow\.gpus: true/],
];

for (const [name, workload, line] of situations) {
  test(`a stack that needs ${name} says what is just enough for a vehicle`, () => {
    const stack = stackOf(workload);
    const needs = stackNeeds(stack);
    assert.match(needsText(needs), line);
    assert.deepEqual(refusedByVehicle(stack, vehicleFor(needs)), []);
    const least = stackNeeds(stackOf(workload["type"] === "oci" ? oci : native));
    const isMore = JSON.stringify(needs) !== JSON.stringify(least);
    assert.equal(refusedByVehicle(stack, vehicleFor(least)).length > 0, isMore, "nothing is asked for without need");
  });
}

test("a stack of many workloads needs all of it, once", () => {
  const stack = stackOf(...situations.map(([, workload]) => workload));
  assert.deepEqual(refusedByVehicle(stack, vehicleFor(stackNeeds(stack))), []);
  assert.equal(needsText(stackNeeds(stack)).match(/devices/g)?.length, 1);
});

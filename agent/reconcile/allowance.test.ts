import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseAgentConfig, parseStackManifest, type AgentConfig, type AgentConfigInput } from "@muto/spec";
import { isAllowedDevice, isAllowedFolder, refusedByVehicle } from "./allowance.ts";

function runtimeOf(runtime: AgentConfigInput["runtime"]): AgentConfig["runtime"] {
  const parsed = parseAgentConfig({
    kind: "muto.agent/v1",
    vehicle: { id: "v1", model: "m", os: "o", rosDistro: "humble", timezone: "UTC" },
    cloud: { url: "http://127.0.0.1:1" },
    stateDir: "/s",
    trustFile: "/t",
    signals: { speed: "none", mode: "none", battery: "none" },
    ...(runtime === undefined ? {} : { runtime }),
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value.runtime;
}

function asked(workload: Readonly<Record<string, unknown>>, runtime: AgentConfigInput["runtime"]): readonly string[] {
  const digest = `sha256:${"1".repeat(64)}`;
  const kind = workload["type"] === "native" ? { archive: digest, argv: ["x"] } : { type: "oci", image: digest };
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: "s",
    version: "1",
    compatibility: { vehicleModels: [], os: [], rosDistro: [] },
    resourceProfile: { diskMbMin: 0 },
    healthModel: { readinessTimeoutSec: 1 },
    workloads: [{ name: "w", ...kind, ...workload }],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return refusedByVehicle(parsed.value, runtimeOf(runtime)).map((refusal) => refusal.asked);
}

const oci = {};

void describe("what a vehicle does not name, a release does not get", () => {
  const refused: readonly (readonly [
    string,
    Readonly<Record<string, unknown>>,
    AgentConfigInput["runtime"],
    string[],
  ])[] = [
    ["an ordinary container on a vehicle with an engine", {}, { oci }, []],
    ["a container without an engine", {}, {}, ["container engine"]],
    ["a native workload where none run", { type: "native" }, { adapter: "none" }, ["native workloads"]],
    ["everything", { privileged: true }, { oci }, ["privileged"]],
    ["everything, given", { privileged: true }, { oci, allow: { privileged: true } }, []],
    [
      "a capability",
      { capabilities: ["SYS_NICE", "NET_ADMIN"] },
      { oci, allow: { capabilities: ["SYS_NICE"] } },
      ["capability"],
    ],
    ["the host's network", {}, { oci, allow: { hostNetwork: false } }, ["host network"]],
    ["a network of its own", { network: "none" }, { oci, allow: { hostNetwork: false } }, []],
    ["the host's memory", {}, { oci, allow: { hostIpc: false } }, ["host ipc"]],
    ["root, by not saying who", {}, { oci, allow: { rootUser: false } }, ["root user"]],
    ["root, by number", { user: "0:1000" }, { oci, allow: { rootUser: false } }, ["root user"]],
    ["root, by zeros", { user: "000" }, { oci, allow: { rootUser: false } }, ["root user"]],
    ["somebody else", { user: "1000:0" }, { oci, allow: { rootUser: false } }, []],
    ["a GPU", { gpus: "all" }, { oci }, ["gpus"]],
    ["a device", { devices: [{ path: "/dev/lidar" }] }, { oci, allow: { devices: ["/dev/lidar0"] } }, ["device"]],
    ["a device, given", { devices: [{ path: "/dev/input/js0" }] }, { oci, allow: { devices: ["/dev/input/"] } }, []],
    ["a mount", { mounts: [{ source: "/etc", target: "/x" }] }, { oci, allow: { mounts: ["/data"] } }, ["mount"]],
    [
      "a mount beside one",
      { mounts: [{ source: "/data2", target: "/x" }] },
      { oci, allow: { mounts: ["/data"] } },
      ["mount"],
    ],
    [
      "a mount below one",
      { mounts: [{ source: "/data/maps/", target: "/x" }] },
      { oci, allow: { mounts: ["/data"] } },
      [],
    ],
    [
      "a mount to write to",
      { mounts: [{ source: "/data", target: "/x", readOnly: false }] },
      { oci, allow: { mounts: ["/data"] } },
      ["writable mount"],
    ],
    [
      "a mount to write to, given",
      { mounts: [{ source: "/data/log", target: "/x", readOnly: false }] },
      { oci, allow: { writable: ["/data/log"] } },
      [],
    ],
  ];
  for (const [name, workload, runtime, expected] of refused) {
    void test(name, () => assert.deepEqual(asked(workload, runtime), expected));
  }
});

void describe("paths are compared after normalisation", () => {
  void test("climbing and relative paths are never allowed, whatever is", () => {
    for (const path of ["/data/../etc", "/..", "data", "", "/data/./../../x"]) {
      assert.equal(isAllowedFolder(path, ["/", "/data"]), false, path);
      assert.equal(isAllowedDevice(path, ["/", "/data/"]), false, path);
    }
  });

  void test("double slashes and single dots change nothing, and a folder of devices is not itself a device", () => {
    assert.ok(isAllowedFolder("//data/.//maps", ["/data/"]));
    assert.ok(isAllowedDevice("/dev//snd/./pcm", ["/dev/snd/"]));
    assert.ok(!isAllowedDevice("/dev/snd", ["/dev/snd/"]));
    assert.ok(!isAllowedDevice("/dev/snd/pcm", ["/dev/snd"]));
  });

  void test("nothing outside an allowed folder is ever allowed", () => {
    const part = fc.constantFrom("a", "b", "ab", "..", ".", "");
    const path = fc.array(part, { maxLength: 5 }).map((parts) => `/${parts.join("/")}`);
    fc.assert(
      fc.property(path, path, (wanted, allowed) => {
        if (!isAllowedFolder(wanted, [allowed])) return;
        // What the kernel would make of it lies in what it would make of the other.
        const real = (text: string) =>
          new URL(`file://${text.replaceAll(/\/+/g, "/")}/`).pathname.replaceAll(/\/+/g, "/");
        assert.ok(real(wanted).startsWith(real(allowed)));
      }),
    );
  });
});

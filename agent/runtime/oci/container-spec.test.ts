import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { OciWorkload } from "@muto/spec";
import { manifestOf } from "../test-bench.ts";
import { commandOf, containerBody, containerConfigHash } from "./container-spec.ts";
import { endOf } from "./ended.ts";
import { identityIn, labelsFor, type ContainerIdentity } from "./labels.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const identity: ContainerIdentity = {
  vehicleId: "v1",
  instanceId: "01J",
  set: `sha256:${"2".repeat(64)}`,
  workload: "planner",
  configHash: `sha256:${"3".repeat(64)}`,
  bootId: "2f07bf38-8be9-496e-a78d-f64c4159eb1c",
  startedAtMs: 1_000,
  stop: { signal: "SIGINT", limitMs: 15_000 },
};

function workload(more: Partial<OciWorkload> = {}): OciWorkload {
  return {
    name: "planner",
    type: "oci",
    image: IMAGE,
    launchArguments: {},
    params: [],
    env: {},
    dependsOn: [],
    stop: { signal: "SIGINT", limitSec: 15 },
    resources: {},
    gpus: "none",
    oneshot: false,
    network: "host",
    ipc: "host",
    capabilities: [],
    privileged: false,
    devices: [],
    mounts: [],
    ...more,
  };
}

function bodyOf(more: Partial<OciWorkload> = {}) {
  const own = workload(more);
  return containerBody({
    manifest: manifestOf([own]),
    workload: own,
    identity,
    imageId: IMAGE,
    probeAddress: "127.0.0.9",
    paramsFolder: own.params.length === 0 ? undefined : "/sets/1/params",
    realPaths: new Map([["/data/map", "/srv/map"]]),
  });
}

void describe("the body of a container", () => {
  void test("an ordinary workload gets the host's network and memory, and no rights", () => {
    assert.deepEqual(bodyOf(), {
      Image: IMAGE,
      Env: [
        "PYTHONUNBUFFERED=1",
        "ROS_DISTRO=humble",
        "ROS_DOMAIN_ID=17",
        "MUTO_PROBE_ADDRESS=127.0.0.9",
        "MUTO_INSTANCE=01J",
        `MUTO_SET=${identity.set}`,
        "MUTO_WORKLOAD=planner",
        `MUTO_CONFIG_HASH=${identity.configHash}`,
      ],
      Labels: labelsFor(identity),
      StopSignal: "SIGINT",
      StopTimeout: 15,
      Tty: false,
      HostConfig: {
        NetworkMode: "host",
        IpcMode: "host",
        Init: true,
        RestartPolicy: { Name: "no" },
        AutoRemove: false,
        LogConfig: { Type: "json-file", Config: { "max-size": "4194304" } },
        Privileged: false,
        CapDrop: ["ALL"],
        CapAdd: [],
        SecurityOpt: ["no-new-privileges"],
        Binds: [],
        Tmpfs: { "/run": "size=16m", "/tmp": "size=64m" },
        Devices: [],
      },
    });
  });

  const cases: readonly (readonly [string, Partial<OciWorkload>, Readonly<Record<string, unknown>>])[] = [
    [
      "resources",
      { resources: { memoryMb: 64, cpus: 1.5, pids: 32 } },
      { Memory: 67_108_864, MemorySwap: 67_108_864, NanoCpus: 1_500_000_000, PidsLimit: 32 },
    ],
    ["memory of its own has a size", { ipc: "private" }, { IpcMode: "private", ShmSize: 268_435_456 }],
    [
      "mounts show real paths, read-only unless said",
      { mounts: [{ source: "/data/map", target: "/map", readOnly: true }] },
      { Binds: ["/srv/map:/map:ro"] },
    ],
    [
      "devices",
      { devices: [{ path: "/dev/lidar", access: "rw" }] },
      { Devices: [{ PathOnHost: "/dev/lidar", PathInContainer: "/dev/lidar", CgroupPermissions: "rw" }] },
    ],
    ["capabilities", { capabilities: ["SYS_NICE"] }, { CapAdd: ["CAP_SYS_NICE"], CapDrop: ["ALL"] }],
    ["gpus", { gpus: "all" }, { DeviceRequests: [{ Count: -1, Capabilities: [["gpu"]] }] }],
    ["parameter files", { params: [{ name: "p.yaml", text: "" }] }, { Binds: ["/sets/1/params:/muto/params:ro"] }],
  ];
  for (const [name, more, expected] of cases) {
    void test(name, () => {
      const host = Object.entries(bodyOf(more)).find(([key]) => key === "HostConfig")?.[1];
      assert.ok(typeof host === "object" && host !== null);
      for (const [key, value] of Object.entries(expected)) {
        assert.deepEqual(Object.entries(host).find(([found]) => found === key)?.[1], value, key);
      }
    });
  }

  void test("the marks of an instance cannot be overridden by a release", () => {
    const env = Object.entries(bodyOf({ env: { MUTO_INSTANCE: "forged", A: "1" } })).find(
      ([key]) => key === "Env",
    )?.[1];
    assert.ok(Array.isArray(env) && env.includes("MUTO_INSTANCE=01J") && !env.includes("MUTO_INSTANCE=forged"));
  });
});

void test("launch arguments follow argv in the order of their names, and name parameter files by path", () => {
  const own = workload({
    argv: ["ros2", "launch", "bringup", "all.launch.py", "--params-file", "$(params nav2)"],
    launchArguments: { use_sim_time: "false", map: "$(params map.yaml)", text: "$(other x) $HOME" },
  });
  assert.deepEqual(commandOf(own).slice(4), [
    "--params-file",
    "/muto/params/nav2",
    "map:=/muto/params/map.yaml",
    "text:=$(other x) $HOME",
    "use_sim_time:=false",
  ]);
});

void test("a configuration hash follows what decides what a container is, and nothing else", () => {
  const hash = (more: Partial<OciWorkload>) => containerConfigHash(manifestOf([]), workload(more));
  const plain = hash({});
  assert.equal(hash({ env: { A: "1", B: "2" } }), hash({ env: { B: "2", A: "1" } }));
  assert.equal(hash({ dependsOn: [{ workload: "map", condition: "ready" }] }), plain);
  for (const more of [{ privileged: true }, { argv: ["x"] }, { env: { A: "1" } }, { image: identity.set }] as const) {
    assert.notEqual(hash(more), plain);
  }
});

void test("labels are read as they were written, and anything else is not ours", () => {
  assert.deepEqual(identityIn(labelsFor(identity)), identity);
  for (const name of Object.keys(labelsFor(identity)).filter((label) => label !== "muto.vehicle")) {
    assert.equal(identityIn({ ...labelsFor(identity), [name]: "../../etc" }), undefined, name);
  }
});

void test("an exit code is a code, or the signal that it stands for", () => {
  const end = (exitCode: number) => {
    const { code, signal } = endOf({ exitCode, finishedAtMs: 1 }, { requested: false, byOutage: false });
    return [code, signal];
  };
  assert.deepEqual([0, 3, 137, 130, 143, 255].map(end), [
    [0, null],
    [3, null],
    [null, "SIGKILL"],
    [null, "SIGINT"],
    [null, "SIGTERM"],
    [255, null],
  ]);
});

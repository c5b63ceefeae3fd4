import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import {
  parseStackManifest,
  type AllowConfig,
  type OciWorkload,
  type RuntimeConfig,
  type StackManifest,
} from "@muto/spec";
import { RuntimeUnseen } from "../../ports.ts";
import { CompositeRuntime } from "../composite-runtime.ts";
import { BOOT_ID } from "../test-bench.ts";
import { engineAt } from "./engine.ts";
import { OciRuntime } from "./oci-runtime.ts";
import { realPathsOf } from "./real-paths.ts";
import { isSetWhole, paramsFolder, readExpectation, writeSet } from "./set-record.ts";
import { fakeEngine, json, type Answering } from "./test-engine.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const SET = `sha256:${"2".repeat(64)}`;
const ALLOW: AllowConfig = {
  devices: [],
  mounts: [],
  writable: [],
  capabilities: [],
  privileged: false,
  hostNetwork: true,
  hostIpc: true,
  gpus: false,
  rootUser: true,
};
const CONFIG: RuntimeConfig = {
  adapter: "none",
  isolation: "auto",
  oci: {},
  allow: ALLOW,
  probeAddress: "127.0.0.1",
  startLimitSec: 10,
};

function stackOf(more: Readonly<Record<string, unknown>> = {}): StackManifest {
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: "s",
    version: "1",
    compatibility: { vehicleModels: [], os: [], rosDistro: [] },
    resourceProfile: { diskMbMin: 0 },
    healthModel: { readinessTimeoutSec: 1 },
    workloads: [
      { name: "planner", type: "oci", image: IMAGE, params: [{ name: "p.yaml", text: "speed: 1\n" }], ...more },
    ],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

function workloadOf(manifest: StackManifest): OciWorkload {
  const [workload] = manifest.workloads;
  if (workload?.type !== "oci") throw new Error("no container");
  return workload;
}

interface Place {
  readonly root: string;
  readonly set: { readonly manifestDigest: string; readonly folder: string; readonly manifest: StackManifest };
  readonly runtime: OciRuntime;
  readonly asked: readonly string[];
}

async function withRuntime(
  answer: Answering | "away",
  use: (place: Place) => Promise<void>,
  manifest: StackManifest = stackOf(),
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "muto-oci-"));
  await using fake = await fakeEngine(answer === "away" ? () => {} : answer);
  const folder = join(root, SET.slice("sha256:".length));
  const runtime = new OciRuntime({
    engine: engineAt(answer === "away" ? join(root, "nobody.sock") : fake.socket),
    disk: systemDisk(),
    clock: systemClock(),
    logger: silentLogger,
    vehicleId: "v1",
    bootId: BOOT_ID,
    setsFolder: root,
    config: CONFIG,
  });
  try {
    await use({ root, set: { manifestDigest: SET, folder, manifest }, runtime, asked: fake.asked });
  } finally {
    await runtime[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  }
}

const prepared = async ({ set }: Place) => {
  await mkdir(set.folder, { recursive: true });
  await writeSet(systemDisk(), set, new Map([[IMAGE, IMAGE]]));
};

void describe("an engine that is away", () => {
  void test("shows nothing, which is never taken for nothing running", () =>
    withRuntime("away", async ({ runtime }) => {
      await assert.rejects(runtime.inspect(), RuntimeUnseen);
    }));

  void test("is no proof that a set is damaged", () =>
    withRuntime("away", async (place) => {
      await prepared(place);
      await assert.rejects(place.runtime.verify(place.set), RuntimeUnseen);
    }));

  void test("does not hold up a vehicle on which no set has containers", () =>
    withRuntime("away", async (place) => {
      const composite = new CompositeRuntime({ native: undefined, oci: place.runtime });
      assert.deepEqual(await composite.inspect(), []);
      await prepared(place);
      await assert.rejects(composite.inspect(), RuntimeUnseen);
    }));

  void test("is not a workload that refuses to stop, and has no output", () =>
    withRuntime("away", async ({ runtime }) => {
      await assert.rejects(runtime.stop("01J"), RuntimeUnseen);
      assert.equal((await runtime.collect("01J", 100)).byteLength, 0);
      assert.equal(await runtime.saw("01J", "x"), null);
    }));
});

void describe("a start that is refused is named, and leaves no container", () => {
  const cases: readonly (readonly [string, Readonly<Record<string, unknown>>, Answering, readonly string[]])[] = [
    ["what the vehicle does not give", { privileged: true }, () => {}, ["start-refused", "NOT_ALLOWED_PRIVILEGED"]],
    [
      "an image that is gone",
      {},
      (_, response) => json(response, 404, { message: "no such image" }),
      ["tampered", "IMAGE_MISSING"],
    ],
    [
      "an engine that does not start it",
      {},
      (request, response, path) => {
        if (path.endsWith("/start")) return json(response, 500, { message: "exec format error" });
        return json(response, request.method === "DELETE" ? 204 : 201, { Id: "c1" });
      },
      ["start-refused", "ENGINE_REFUSED"],
    ],
  ];
  for (const [name, more, answer, expected] of cases) {
    const manifest = stackOf(more);
    void test(name, () =>
      withRuntime(
        answer,
        async (place) => {
          await prepared(place);
          const started = await place.runtime.start(place.set, workloadOf(manifest), "01J");
          assert.deepEqual(started.ok ? [] : [started.problem, started.code], expected);
          const [made, gone] = ["POST /containers/create", "DELETE /containers/c1"].map((one) =>
            place.asked.includes(one),
          );
          assert.equal(gone, made === true && expected[1] === "ENGINE_REFUSED");
        },
        manifest,
      ),
    );
  }

  void test("an engine that goes away meanwhile: nobody knows whether it runs, so nothing is said of the release", () =>
    withRuntime(
      (request) => void request.socket.destroy(),
      async (place) => {
        await prepared(place);
        await assert.rejects(place.runtime.start(place.set, workloadOf(place.set.manifest), "01J"), RuntimeUnseen);
      },
    ));

  void test("a set that was never prepared", () =>
    withRuntime(
      () => {},
      async ({ runtime, set }) => {
        const started = await runtime.start(set, workloadOf(set.manifest), "01J");
        assert.deepEqual(started, { ok: false, problem: "tampered", code: "NOT_PREPARED" });
      },
    ));
});

void describe("parameter files are hashed like everything else of a set (H9)", () => {
  const spoilings: readonly (readonly [string, (folder: string) => Promise<void>])[] = [
    ["edited", (folder) => writeFile(join(folder, "p.yaml"), "speed: 9\n")],
    ["removed", (folder) => rm(join(folder, "p.yaml"))],
    ["one too many", (folder) => writeFile(join(folder, "q.yaml"), "")],
    [
      "a link",
      async (folder) => {
        await rm(join(folder, "p.yaml"));
        await symlink("/etc/hostname", join(folder, "p.yaml"));
      },
    ],
  ];
  for (const [name, spoil] of spoilings) {
    void test(name, () =>
      withRuntime(
        () => {},
        async (place) => {
          await prepared(place);
          const expected = (await readExpectation(systemDisk(), place.set.folder)) ?? assert.fail("no record");
          assert.ok(await isSetWhole(systemDisk(), place.set, expected));
          const folder = paramsFolder(place.set, workloadOf(place.set.manifest));
          assert.deepEqual(await readdir(folder), ["p.yaml"]);
          await spoil(folder);
          assert.equal(await isSetWhole(systemDisk(), place.set, expected), false);
          assert.equal(await place.runtime.verify(place.set), false);
        },
      ),
    );
  }
});

void test("a link below an allowed folder does not lead out of it, and the allowed folder may be a link itself", async () => {
  const root = await mkdtemp(join(tmpdir(), "muto-paths-"));
  try {
    await mkdir(join(root, "data", "maps"), { recursive: true });
    await mkdir(join(root, "secret"));
    await chmod(join(root, "secret"), 0o700);
    await symlink(join(root, "secret"), join(root, "data", "escape"));
    await symlink(join(root, "data"), join(root, "alias"));
    const look = async (source: string, allow: Partial<AllowConfig>, readOnly = true) => {
      const workload = workloadOf(stackOf({ mounts: [{ source, target: "/x", readOnly }] }));
      const real = await realPathsOf(workload, { ...ALLOW, ...allow });
      return real.ok ? real.paths.get(source) : real.code;
    };
    const data = join(root, "data");
    assert.equal(await look(join(data, "maps"), { mounts: [data] }), join(data, "maps"));
    assert.equal(await look(join(data, "escape"), { mounts: [data] }), "MOUNT_ESCAPES");
    assert.equal(await look(join(data, "gone"), { mounts: [data] }), "MOUNT_MISSING");
    assert.equal(await look(join(root, "alias", "maps"), { mounts: [join(root, "alias")] }), join(data, "maps"));
    assert.equal(await look(join(data, "maps"), { mounts: [data] }, false), "MOUNT_ESCAPES");
    assert.equal(await look(join(data, "maps"), { writable: [data] }, false), join(data, "maps"));
  } finally {
    await rm(root, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { exampleImage, layoutFiles, tarOf, writeFiles } from "@muto/oci/example-image";
import type { ExampleImage } from "@muto/oci/example-image";
import { serveRegistry } from "@muto/oci/registry/serve";
import type { ServedRegistry } from "@muto/oci/registry/serve";
import { runMuto } from "./test-program.ts";

const HEAD = [
  "kind: muto.stack/v1",
  "name: autonomy-core",
  "version: 1.0.0+build.7",
  "compatibility: { vehicleModels: [vehicle-v3], os: [], rosDistro: [humble] }",
  "resourceProfile: { diskMbMin: 100 }",
  "healthModel:",
  "  readinessTimeoutSec: 60",
  "  probes: [{ kind: topic, name: images, workload: camera, topic: /image, messageType: sensor_msgs/msg/Image, hzMin: 10 }]",
  "workloads:",
];

describe("muto release push and inspect", () => {
  let root: string;
  let registry: ServedRegistry;
  let image: ExampleImage;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-release-"));
    const ports = { disk: systemDisk(), clock: systemClock(), random: systemRandom(), logger: silentLogger };
    registry = await serveRegistry(ports, { folder: join(root, "registry") });
    image = await exampleImage();
    await writeFiles(join(root, "camera"), layoutFiles([image]));
    await mkdir(join(root, "install"));
    await writeFile(join(root, "install", "local_setup.bash"), "");
    await writeFile(join(root, "planner.yaml"), "/**: { ros__parameters: { rate: 10 } }\n");
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  });
  const muto = (...args: readonly string[]) =>
    runMuto(args, { environment: { MUTO_URL: registry.url, MUTO_DATA_DIR: root } });
  const stackFile = async (...workloads: readonly string[]) => {
    const path = join(root, "stack.yaml");
    await writeFile(path, `${[...HEAD, ...workloads].join("\n")}\n`);
    return path;
  };
  const CAMERA = [
    "  - name: camera",
    "    type: oci",
    "    image: ./camera",
    "    user: '1000'",
    "    devices: [{ path: /dev/video0 }]",
    "    mounts: [{ source: /etc/calibration, target: /calibration }]",
    "    capabilities: [SYS_NICE]",
  ];
  const PLANNER = [
    "  - name: planner",
    "    type: native",
    "    archive: ./install",
    "    setup: [/opt/ros/humble/setup.bash, local_setup.bash]",
    "    argv: [ros2, launch, my_robot, planner.launch.py, 'params_file:=$(params planner.yaml)']",
    "    launchArguments: { use_sim_time: 'false' }",
    "    params: [{ file: ./planner.yaml }]",
    "    dependsOn: [{ workload: camera, condition: ready }]",
  ];

  test("a stack of both kinds is checked, pushed, and is then what was checked; again, nothing is sent", async () => {
    const file = await stackFile(...CAMERA, ...PLANNER);
    const checked = await muto("release", "inspect", file, "--output", "json");
    assert.equal(checked.code, 0, checked.error);
    assert.deepEqual(await readdir(join(root, "registry", "blobs")), [], "checking sends nothing");
    const view: Record<string, unknown> = JSON.parse(checked.out);

    const pushed = await muto("release", "push", file);
    assert.equal(pushed.code, 0, pushed.error);
    assert.equal(pushed.out, `${String(view["manifestDigest"])}\n`, "nothing but the digest on standard output");
    assert.match(pushed.error, /image of camera: linux\/amd64/);
    assert.match(pushed.error, /1\/6 sha256:\w+ .* uploaded\n/);
    assert.ok(!pushed.error.includes("\r"), "plain lines where there is no terminal");

    const again = await muto("release", "push", file, "--output", "json");
    assert.deepEqual(JSON.parse(again.out), {
      manifestDigest: view["manifestDigest"],
      repository: "autonomy-core",
      uploadedBytes: 0,
    });
    assert.doesNotMatch(again.error, / uploaded\n.*sha256/);

    const digest = String(view["manifestDigest"]);
    const inspected = await muto("release", "inspect", digest, "--repository", "autonomy-core", "--output", "json");
    assert.equal(inspected.code, 0, inspected.error);
    assert.deepEqual(JSON.parse(inspected.out), view, "from the registry as from the file");
    assert.deepEqual(view["needs"], {
      native: true,
      engine: true,
      devices: ["/dev/video0"],
      mounts: ["/etc/calibration"],
      writable: [],
      capabilities: ["SYS_NICE"],
      privileged: false,
      gpus: false,
      hostNetwork: true,
      hostIpc: true,
      rootUser: [],
    });
    const text = await muto("release", "inspect", digest, "--repository", "autonomy-core");
    for (const part of [
      "runtime.allow.devices: [/dev/video0]",
      "/image, at least 10 Hz, 1 or more publishers",
      "params planner.yaml",
      `image, linux/amd64`,
      image.manifest.digest,
      "use_sim_time:=false",
    ]) {
      assert.ok(text.out.includes(part), `${part} in\n${text.out}`);
    }
  });

  test("on a terminal the line of the present blob redraws itself", async () => {
    const file = await stackFile(...CAMERA);
    await writeFile(file, (await readFile(file, "utf8")).replace("name: autonomy-core", "name: other"));
    const environment = { MUTO_URL: registry.url, MUTO_DATA_DIR: root };
    const pushed = await runMuto(["release", "push", file], { environment, errorTerminal: true });
    assert.equal(pushed.code, 0, pushed.error);
    assert.ok(pushed.error.includes("\r\u001B[K1/5 sha256:"));
    assert.match(pushed.error, / is there already\n/);
    const moved = await muto("release", "push", await stackFile(...CAMERA, "    oneshot: true"));
    assert.match(moved.error, /warning: autonomy-core:1\.0\.0_build\.7 was sha256:/);
  });

  test("an image in a registry is named by digest; a tag is refused with the digest that it has now", async () => {
    const host = new URL(registry.url).host;
    const first = await muto("release", "push", await stackFile(...CAMERA), "--repository", "images/camera");
    assert.equal(first.code, 0, first.error);
    const named = (reference: string) => CAMERA.map((line) => line.replace("./camera", reference));
    const byTag = await muto("release", "inspect", await stackFile(...named(`${host}/images/camera:1.0.0_build.7`)));
    assert.equal(byTag.code, 1);
    assert.ok(byTag.error.includes("names an image by a tag, which can be moved"));
    assert.ok(byTag.error.includes(`try:  image: ${host}/images/camera@${first.out.trim()}`), byTag.error);
    const byDigest = await muto(
      "release",
      "push",
      await stackFile(...named(`${host}/images/camera@${image.manifest.digest}`)),
    );
    assert.equal(byDigest.code, 0, byDigest.error);
    assert.equal(byDigest.out, first.out, "wherever the image came from");
    const absent = await muto(
      "release",
      "inspect",
      await stackFile(...named(`${host}/images/camera@sha256:${"0".repeat(64)}`)),
    );
    assert.match(absent.error, /does not exist/);
    const artifact = await muto(
      "release",
      "inspect",
      await stackFile(...named(`${host}/images/camera@${first.out.trim()}`)),
    );
    assert.match(artifact.error, /is no container image/);
  });

  test("a stack that no vehicle would take is refused with file, line and place", async () => {
    const situations: readonly (readonly [workloads: readonly string[], message: RegExp])[] = [
      [[...CAMERA, "    restart: always"], /stack\.yaml:\d+: \/workloads\/0\/restart /],
      [
        [...CAMERA, ...PLANNER.filter((line) => !line.includes("params:"))],
        /stack\.yaml:\d+: \/workloads\/1\/argv\/4 \$\(params planner\.yaml\) names no parameter file/,
      ],
      [
        [...CAMERA, ...PLANNER.map((line) => line.replace("ros2, launch", "bin/planner"))],
        /stack\.yaml:\d+: \/workloads\/1\/argv\/0 bin\/planner is not in the archive/,
      ],
      [
        [...CAMERA, ...PLANNER.map((line) => line.replace("./install", "./absent"))],
        /absent cannot be packed: folder-missing\ntry: /,
      ],
      [
        [...CAMERA, ...PLANNER.map((line) => line.replace("./planner.yaml", "./absent.yaml"))],
        /\/?absent\.yaml does not exist/,
      ],
      [PLANNER, /\/healthModel\/probes\/0\/workload names no workload/],
      [CAMERA.map((line) => line.replace("./camera", "./install")), /is neither an OCI image layout nor an archive/],
      [CAMERA.map((line) => line.replace("./camera", "camera-image:1")), /neither there nor a reference[\s\S]*try: /],
      [
        CAMERA.map((line) => line.replace("./camera", image.manifest.digest)),
        /says which image, but not where it lies/,
      ],
    ];
    for (const [workloads, message] of situations) {
      const result = await muto("release", "inspect", await stackFile(...workloads));
      assert.equal(result.code, 1);
      assert.match(result.error, message);
    }
    const platform = await muto("release", "inspect", await stackFile(...CAMERA), "--platform", "linux/arm64");
    assert.match(platform.error, /is for linux\/amd64, not for linux\/arm64/);
    assert.equal((await muto("release", "inspect", await stackFile(...CAMERA), "--platform", "arm")).code, 2);
    assert.equal((await muto("release", "inspect", `sha256:${"0".repeat(64)}`)).code, 2, "where, is not said");
    const folder = await muto("release", "inspect", root);
    assert.match(folder.error, /is a folder\ntry: .*stack\.yaml/);
  });

  test("an archive that was packed before is taken as it is", async () => {
    const bytes = gzipSync(await tarOf([{ name: "local_setup.bash" }]));
    await writeFile(join(root, "install.tar.gz"), bytes);
    const packed = PLANNER.map((line) => line.replace("./install", "./install.tar.gz"));
    const good = await muto("release", "inspect", await stackFile(...CAMERA, ...packed));
    assert.equal(good.code, 0, good.error);
    await writeFile(join(root, "install.tar.gz"), gzipSync(await tarOf([{ name: "../x" }])));
    const bad = await muto("release", "inspect", await stackFile(...CAMERA, ...packed));
    assert.match(bad.error, /install\.tar\.gz is no archive that a vehicle would take: escapes\ntry: /);
  });

  test("a login that docker or podman saved is used for exactly its registry", async () => {
    const seen: (string | undefined)[] = [];
    const environment = {
      MUTO_URL: "http://127.0.0.1:9",
      MUTO_REGISTRY_URL: registry.url,
      REGISTRY_AUTH_FILE: join(root, "auth.json"),
    };
    const auth = Buffer.from("ci:pass:word").toString("base64");
    await writeFile(
      environment.REGISTRY_AUTH_FILE,
      JSON.stringify({ auths: { [new URL(registry.url).host]: { auth } } }),
    );
    await runMuto(["release", "inspect", `sha256:${"0".repeat(64)}`, "--repository", "a"], {
      environment,
      http: async ({ headers }) => {
        seen.push(headers?.["authorization"]);
        return { status: 401, headers: new Map([["www-authenticate", "Basic realm=x"]]), body: nothing() };
      },
    });
    assert.deepEqual(seen, [undefined, `Basic ${auth}`]);
  });
});

async function* nothing(): AsyncGenerator<Uint8Array> {}

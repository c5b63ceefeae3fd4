import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { runMuto } from "@muto/cli/test-program";
import { systemClock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import { createRegistryClient } from "@muto/oci/client";
import { digestOf } from "@muto/oci/digest";
import { exampleImage, layoutFiles, writeFiles } from "@muto/oci/example-image";
import { pullSmallBlob, pullStack } from "@muto/oci/stack-pull";
import { startDockerRegistry } from "./docker-registry.ts";
import type { DockerRegistry } from "./docker-registry.ts";
import { programOf } from "./install.ts";

const execute = promisify(execFile);

/** Images as other programs write them, through a registry that other people run. */
describe("images of other programs, in another registry", () => {
  let registry: DockerRegistry;
  let root: string;
  let skopeo: (...args: readonly string[]) => Promise<string>;
  before(async () => {
    const program = await programOf({ packageName: "skopeo", paths: ["/usr/bin/skopeo"] });
    root = await mkdtemp(join(tmpdir(), "muto-images-"));
    const policy = join(root, "policy.json");
    await writeFile(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
    skopeo = async (...args) => (await execute(program, ["--policy", policy, ...args])).stdout;
    registry = await startDockerRegistry();
    for (const name of ["camera", "lidar", "planner"]) {
      const image = await exampleImage({ texts: ["base", name], ...(name === "lidar" ? { compressed: false } : {}) });
      await writeFiles(join(root, name), layoutFiles([image], name));
    }
    const at = (name: string) => `oci:${join(root, name)}:${name}`;
    await skopeo("copy", at("camera"), `docker-archive:${join(root, "camera.tar")}:camera:1`);
    await skopeo("copy", at("lidar"), `oci-archive:${join(root, "lidar.tar")}:lidar`);
    await skopeo(
      "copy",
      "--dest-tls-verify=false",
      "--format",
      "v2s2",
      at("planner"),
      `docker://${registry.host}/images/planner:1`,
    );
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });
  const muto = (...args: readonly string[]) =>
    runMuto(args, { environment: { MUTO_URL: registry.url, MUTO_REGISTRY_URL: registry.url, MUTO_DATA_DIR: root } });
  const rawManifest = (reference: string) =>
    skopeo("inspect", "--raw", "--tls-verify=false", `docker://${registry.host}/${reference}`);

  it("are pushed as one artifact, pulled by skopeo by digest, and survive the registry's garbage collection", async () => {
    const planner = digestOf(Buffer.from(await rawManifest("images/planner:1")));
    const image = (name: string, from: string) => ({ name, type: "oci", image: from });
    const stack = {
      kind: "muto.stack/v1",
      name: "autonomy-core",
      version: "1.0.0",
      compatibility: { vehicleModels: [], os: [], rosDistro: [] },
      resourceProfile: { diskMbMin: 1 },
      healthModel: { readinessTimeoutSec: 60 },
      workloads: [
        image("camera", "docker-archive:camera.tar:camera:1"),
        image("lidar", "./lidar.tar"),
        image("planner", `${registry.host}/images/planner@${planner}`),
      ],
    };
    const file = join(root, "stack.json");
    await writeFile(file, JSON.stringify(stack));
    const pushed = await muto("release", "push", file);
    assert.equal(pushed.code, 0, pushed.error);
    assert.match(pushed.error, / taken from another repository\n/, "the layers of the planner are mounted");
    const manifestDigest = pushed.out.trim();
    const again = await muto("release", "push", file, "--output", "json");
    assert.deepEqual(JSON.parse(again.out), { manifestDigest, repository: "autonomy-core", uploadedBytes: 0 });

    const client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: registry.url });
    const pulled = await pullStack(client, "autonomy-core", manifestDigest);
    assert.ok(pulled.ok, JSON.stringify(pulled));
    assert.equal(pulled.images.size, 3);
    for (const [digest] of pulled.images) {
      const raw = await rawManifest(`autonomy-core@${digest}`);
      assert.equal(digestOf(Buffer.from(raw)), digest);
      const copy = join(root, `copy-${digest.slice(7, 19)}`);
      await skopeo(
        "copy",
        "--src-tls-verify=false",
        `docker://${registry.host}/autonomy-core@${digest}`,
        `dir:${copy}`,
      );
    }

    await registry.collectGarbage();
    const kept = await pullStack(client, "autonomy-core", manifestDigest);
    assert.ok(kept.ok, "an artifact with a tag keeps everything that it lists, although its images have no tag");
    for (const layer of kept.artifact.layers) {
      const blob = await pullSmallBlob(client, "autonomy-core", layer);
      assert.ok(blob.ok && digestOf(blob.bytes) === layer.digest, layer.mediaType);
    }
    const repaired = await muto("release", "push", file);
    assert.equal(repaired.code, 0, repaired.error);
    for (const [digest] of kept.images) await rawManifest(`autonomy-core@${digest}`);
  });

  it("with zstd layers are refused with what to do", async () => {
    const zstd = `oci:${join(root, "zstd")}:camera`;
    await skopeo(
      "copy",
      "--dest-compress",
      "--dest-compress-format",
      "zstd",
      `docker-archive:${join(root, "camera.tar")}`,
      zstd,
    );
    const file = join(root, "zstd.json");
    const workloads = [{ name: "camera", type: "oci", image: "./zstd" }];
    await writeFile(file, JSON.stringify({ kind: "muto.stack/v1", workloads }));
    const refused = await muto("release", "inspect", file);
    assert.equal(refused.code, 1);
    assert.match(refused.error, /has zstd layers[\s\S]*--dest-compress-format gzip/);
  });
});

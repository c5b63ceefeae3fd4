import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { MEDIA_TYPES } from "@muto/spec";
import { createRegistryClient } from "./client.ts";
import { isRecord } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import { exampleImage, layoutFiles, tarOf, writeFiles } from "./example-image.ts";
import type { ExampleImage } from "./example-image.ts";
import { gzipped } from "./gzip.ts";
import { readLocalImage } from "./image-local.ts";
import { readRemoteImage } from "./image-remote.ts";
import type { ImageChoice, SourceImage } from "./image-source.ts";
import { OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST } from "./media-types.ts";
import { serveRegistry } from "./registry/serve.ts";
import { parseStackArtifact, parseStackImages, stackImages } from "./stack-artifact.ts";
import { buildStackArtifact } from "./stack-build.ts";
import type { BuiltStack } from "./stack-build.ts";
import { pullStack } from "./stack-pull.ts";
import { pushStackArtifact } from "./stack-push.ts";
import type { PushProgress } from "./stack-push.ts";

const disk = systemDisk();
const CHOICE: ImageChoice = { platform: { os: "linux", architecture: "amd64" }, platformGiven: false };

describe("a stack of images and archives", () => {
  let root: string;
  let output: string;
  let camera: SourceImage;
  let planner: SourceImage;
  let built: BuiltStack;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-stack-images-"));
    output = join(root, "output");
    for (const name of ["output", "install"]) await mkdir(join(root, name));
    await writeFile(join(root, "install", "run"), "#!/bin/sh\n", { mode: 0o755 });
    camera = await local("camera", await exampleImage({ texts: ["base", "camera"] }));
    planner = await local("planner", await exampleImage({ texts: ["base", "planner"] }));
    built = await build();
  });
  after(() => rm(root, { recursive: true }));

  const local = async (name: string, image: ExampleImage) => {
    await writeFiles(join(root, name), layoutFiles([image]));
    const found = await readLocalImage(disk, { path: join(root, name), outputFolder: output }, CHOICE);
    assert.ok(found.ok);
    return found.image;
  };
  const build = async (
    images = new Map([
      ["camera", camera],
      ["planner", planner],
      ["spare", camera],
    ]),
  ) => {
    const workload = (name: string) => ({ name, type: "oci", image: `./${name}` });
    const manifest = {
      kind: "muto.stack/v1",
      name: "autonomy-core",
      version: "1.0.0",
      compatibility: { vehicleModels: [], os: [], rosDistro: [] },
      resourceProfile: { diskMbMin: 1 },
      healthModel: { readinessTimeoutSec: 30 },
      workloads: [
        { name: "bridge", type: "native", archive: "./install", argv: ["run"] },
        ...[...images.keys()].map(workload),
      ],
    };
    const folders = new Map([["bridge", join(root, "install")]]);
    const result = await buildStackArtifact(disk, { manifest, folders, images, outputFolder: output });
    assert.ok(result.ok, JSON.stringify(result));
    return result.built;
  };
  /** This registry has a manifest as a blob, too, once it has it as a manifest. */
  const totalBytes = () =>
    [built.artifact.config, ...built.artifact.layers.filter(({ mediaType }) => mediaType !== OCI_MANIFEST)].reduce(
      (sum, { sizeBytes }) => sum + sizeBytes,
      0,
    );
  const serve = async (name: string) => {
    const ports = { disk, clock: systemClock(), random: systemRandom(), logger: silentLogger };
    const registry = await serveRegistry(ports, { folder: join(root, name) });
    const client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: registry.url });
    return { client, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() };
  };

  test("lists every blob once, flat: archives first, then each image's manifest, configuration and layers", () => {
    const types = built.artifact.layers.map(({ mediaType }) => mediaType);
    assert.equal(types[0], MEDIA_TYPES.stackArchive);
    assert.equal(types.filter((type) => type === OCI_MANIFEST).length, 2, "three workloads run two images");
    assert.equal(types.filter((type) => type === OCI_LAYER_GZIP).length, 3, "the layer that they share is there once");
    assert.deepEqual([...built.images.keys()].toSorted(), [camera.digest, planner.digest].toSorted());
    const images = built.stack.workloads.flatMap((workload) => (workload.type === "oci" ? [workload.image] : []));
    assert.deepEqual(images, [camera.digest, planner.digest, camera.digest]);
  });

  test("is pushed once: again, nothing is sent; and what comes back is the same", async () => {
    await using registry = await serve("registry-a");
    const { client } = registry;
    const seen: PushProgress[] = [];
    const options = { tag: "1.0.0", onProgress: (progress: PushProgress) => void seen.push(progress) };
    const pushed = await pushStackArtifact({ client }, "core", built, options);
    assert.deepEqual(pushed, { ok: true, manifestDigest: built.artifact.manifestDigest, uploadedBytes: totalBytes() });
    const done = seen.filter(({ state }) => state !== "sending");
    assert.deepEqual(
      done.map(({ index }) => index),
      built.artifact.layers.map((_, index) => index + 1).concat(done.length),
    );
    assert.ok(
      done.every(
        ({ state, count, sentBytes, sizeBytes, mediaType }) =>
          state === (mediaType === OCI_MANIFEST ? "present" : "uploaded") &&
          count === done.length &&
          sentBytes === sizeBytes,
      ),
    );

    const again = await pushStackArtifact({ client }, "core", built, { tag: "1.0.0" });
    assert.deepEqual(again, { ok: true, manifestDigest: built.artifact.manifestDigest, uploadedBytes: 0 });
    const pulled = await pullStack(client, "core", built.artifact.manifestDigest);
    assert.ok(pulled.ok);
    assert.deepEqual(pulled.artifact, built.artifact);
    assert.deepEqual(pulled.images, built.images);
    const asManifest = await client.pullManifest("core", camera.digest);
    assert.ok(asManifest.ok, "an engine can pull the image by its digest");
    assert.equal(asManifest.mediaType, OCI_MANIFEST);
    assert.deepEqual(await client.findManifest("core", "1.0.0"), { ok: true, digest: built.artifact.manifestDigest });
    assert.deepEqual(await client.findManifest("core", "2.0.0"), { ok: true, digest: undefined });
  });

  test("goes on after an interruption with what is missing", async () => {
    await using registry = await serve("registry-b");
    const { client } = registry;
    const stop = new AbortController();
    let blobs = 0;
    const onProgress = ({ state }: PushProgress) => {
      if (state === "uploaded" && ++blobs === 3) stop.abort();
    };
    const cut = await pushStackArtifact({ client }, "core", built, { onProgress, signal: stop.signal });
    assert.ok(!cut.ok && cut.problem === "unreachable");
    const rest = await pushStackArtifact({ client }, "core", built);
    const first = built.artifact.layers.filter(({ mediaType }) => mediaType !== OCI_MANIFEST).slice(0, 3);
    const before = first.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert.ok(rest.ok && rest.uploadedBytes === totalBytes() - before);
  });

  test("of images that lie in the same registry takes their layers from there, and from another one copies them", async () => {
    await using here = await serve("registry-c");
    await using there = await serve("registry-d");
    const source = await pushStackArtifact({ client: here.client }, "images/all", built);
    assert.ok(source.ok);
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_INDEX,
        manifests: [
          {
            mediaType: OCI_MANIFEST,
            digest: camera.digest,
            size: camera.manifestBytes.byteLength,
            platform: camera.platform,
          },
          {
            mediaType: OCI_MANIFEST,
            digest: planner.digest,
            size: planner.manifestBytes.byteLength,
            platform: { os: "linux", architecture: "arm64" },
          },
        ],
      }),
    );
    const put = await here.client.pushManifest("images/all", { bytes: index, mediaType: OCI_INDEX, tag: "latest" });
    assert.ok(put.ok);
    const remote = async (digest: string) => {
      const at = { repository: "images/all", digest, outputFolder: output };
      const found = await readRemoteImage({ disk, client: here.client }, at, CHOICE);
      assert.ok(found.ok, JSON.stringify(found));
      return found.image;
    };
    const chosen = await remote(put.digest);
    assert.equal(chosen.digest, camera.digest, "of an index, the image for the platform");
    const again = await build(
      new Map([
        ["camera", chosen],
        ["planner", await remote(planner.digest)],
        ["spare", chosen],
      ]),
    );
    assert.equal(again.artifact.manifestDigest, built.artifact.manifestDigest, "wherever its images lay");

    const states = async (client: typeof here.client) => {
      const seen = new Set<string>();
      const onProgress = ({ state, mediaType }: PushProgress) => {
        if (mediaType === OCI_LAYER_GZIP && state !== "sending") seen.add(state);
      };
      const pushed = await pushStackArtifact({ client }, "core", again, { onProgress });
      assert.ok(pushed.ok);
      return [...seen];
    };
    assert.deepEqual(await states(there.client), ["uploaded"]);
    const local = await here.client.hasBlob("core", camera.image.config.digest);
    // The development registry keeps blobs once for all repositories, so there is nothing left to mount.
    assert.deepEqual(local, { ok: true, present: true });
    assert.deepEqual(await states(here.client), ["present"]);
    const absent = await readRemoteImage(
      { disk, client: here.client },
      { repository: "images/all", digest: digestOf(Buffer.from("absent")), outputFolder: output },
      CHOICE,
    );
    assert.ok(!absent.ok && absent.problem === "missing");
  });

  test("is refused when anything about its images is not as signed (hostile registry, mixed bundles, extraneous dependency)", () => {
    const { artifact } = built;
    const manifests = new Map([camera, planner].map(({ digest, manifestBytes }) => [digest, manifestBytes]));
    const configDigest = camera.image.config.digest;
    const withLayers = (change: (layers: BuiltStack["artifact"]["layers"]) => BuiltStack["artifact"]["layers"]) => ({
      ...artifact,
      layers: change(artifact.layers),
    });
    const extra = { mediaType: OCI_LAYER_GZIP, digest: digestOf(Buffer.from("extra")), sizeBytes: 5 };
    const situations = {
      "as it was built": { artifact, manifests, problem: "ok" },
      "a layer is not listed": {
        artifact: withLayers((layers) => layers.filter(({ digest }) => digest !== configDigest)),
        manifests,
        problem: "image-blob-missing",
      },
      "a layer is listed with another size": {
        artifact: withLayers((layers) =>
          layers.map((layer) => (layer.digest === configDigest ? { ...layer, sizeBytes: layer.sizeBytes + 1 } : layer)),
        ),
        manifests,
        problem: "image-blob-missing",
      },
      "a layer is listed as an archive": {
        artifact: withLayers((layers) =>
          layers.map((layer) =>
            layer.digest === configDigest ? { ...layer, mediaType: MEDIA_TYPES.stackArchive } : layer,
          ),
        ),
        manifests,
        problem: "image-blob-missing",
      },
      "a layer too many": {
        artifact: withLayers((layers) => [...layers, extra]),
        manifests,
        problem: "image-blob-not-named",
      },
      "a manifest is not here": { artifact, manifests: new Map(), problem: "image-missing" },
      "a manifest is another one": {
        artifact,
        manifests: new Map([...manifests, [camera.digest, planner.manifestBytes]]),
        problem: "digest-mismatch",
      },
      "a manifest is none of an image": {
        artifact: withLayers((layers) => [...layers, { ...extra, mediaType: OCI_MANIFEST }]),
        manifests: new Map([...manifests, [extra.digest, Buffer.from("extra")]]),
        problem: "not-an-image",
      },
    };
    for (const [name, { artifact: listed, manifests: given, problem }] of Object.entries(situations)) {
      const parsed = parseStackImages(given, listed);
      assert.equal(parsed.ok ? "ok" : parsed.problem, problem, name);
    }
  });

  test("whose manifest of an image would not fit into memory is refused before it is fetched (endless data)", () => {
    const value: unknown = JSON.parse(Buffer.from(built.manifestBytes).toString());
    assert.ok(isRecord(value) && Array.isArray(value["layers"]));
    const [image] = stackImages(built.artifact);
    assert.ok(image);
    const layers = value["layers"].map((layer: unknown) =>
      isRecord(layer) && layer["digest"] === image.digest ? { ...layer, size: 5_000_000 } : layer,
    );
    const bytes = Buffer.from(JSON.stringify({ ...value, layers }));
    assert.deepEqual(parseStackArtifact(bytes, digestOf(bytes)), { ok: false, problem: "wrong-layer-type" });
  });

  const withArchive = async (archive: string, workload: Record<string, unknown>) => {
    const manifest = {
      kind: "muto.stack/v1",
      name: "a",
      version: "1",
      compatibility: { vehicleModels: [], os: [], rosDistro: [] },
      resourceProfile: { diskMbMin: 1 },
      healthModel: { readinessTimeoutSec: 30 },
      workloads: [{ name: "a", type: "native", archive: "x", argv: ["run"], ...workload }],
    };
    return await buildStackArtifact(disk, { manifest, folders: new Map([["a", archive]]), outputFolder: output });
  };

  test("takes an archive that somebody made as it is, after reading it like a vehicle", async () => {
    const path = join(root, "made.tar.gz");
    const archive = async (...entries: Parameters<typeof tarOf>[0]) => {
      const pieces: Uint8Array[] = [];
      for await (const piece of gzipped(oneOf(await tarOf(entries)))) pieces.push(piece);
      await writeFile(path, Buffer.concat(pieces));
      return Buffer.concat(pieces);
    };
    const bytes = await archive({ name: "setup.bash", bytes: Buffer.from("") });
    const good = await withArchive(path, { argv: ["ros2", "launch"], setup: ["setup.bash"] });
    assert.ok(good.ok, JSON.stringify(good));
    assert.equal(good.built.artifact.layers[0]?.digest, digestOf(bytes));
    const absent = await withArchive(path, { argv: ["ros2"], setup: ["local_setup.bash"] });
    assert.deepEqual(absent, {
      ok: false,
      problem: "not-a-stack-manifest",
      problems: [{ path: "/workloads/0/setup/0", message: "local_setup.bash is not in the archive" }],
    });
    await archive({ name: "../outside" });
    const climbing = await withArchive(path, {});
    assert.deepEqual(climbing, { ok: false, problem: "cannot-unpack", cause: "escapes", path });
    await writeFile(path, "no archive");
    assert.deepEqual(await withArchive(path, {}), { ok: false, problem: "cannot-unpack", cause: "malformed", path });
  });

  test("with a program that is not in its archive, or is none, is refused where it is built", async () => {
    const folder = join(root, "programs");
    await mkdir(join(folder, "bin"), { recursive: true });
    await writeFile(join(folder, "bin", "good"), "", { mode: 0o755 });
    await writeFile(join(folder, "bin", "plain"), "", { mode: 0o644 });
    const situations: readonly { readonly argv: string; readonly setup?: string[]; readonly message?: string }[] = [
      { argv: "bin/good" },
      { argv: "./bin/good" },
      { argv: "/usr/bin/python3" },
      { argv: "ros2", setup: ["/opt/ros/humble/setup.bash"] },
      { argv: "ros2", message: "ros2 is not in the archive" },
      { argv: "bin/absent", message: "bin/absent is not in the archive" },
      { argv: "bin", message: "bin is not in the archive" },
      { argv: "bin/plain", message: "bin/plain is not executable" },
      { argv: "bin/absent", setup: ["/opt/ros/humble/setup.bash"], message: "bin/absent is not in the archive" },
    ];
    for (const { argv, setup = [], message } of situations) {
      const result = await withArchive(folder, { argv: [argv], setup });
      const problems = "problems" in result ? (result.problems ?? []) : [];
      assert.deepEqual(
        problems.map((problem) => problem.message),
        message === undefined ? [] : [message],
        argv,
      );
    }
  });
});

async function* oneOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

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
import { createRegistryClient } from "@muto/oci/client";
import type { RegistryClient } from "@muto/oci/client";
import { digestOf } from "@muto/oci/digest";
import { exampleImage, layoutFiles, writeFiles } from "@muto/oci/example-image";
import { readLocalImage } from "@muto/oci/image-local";
import { OCI_LAYER_GZIP, OCI_MANIFEST } from "@muto/oci/media-types";
import { serveRegistry } from "@muto/oci/registry/serve";
import type { ServedRegistry } from "@muto/oci/registry/serve";
import { encodeStackArtifact } from "@muto/oci/stack-artifact";
import { buildStackArtifact } from "@muto/oci/stack-build";
import type { BuiltStack } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
import { createReleaseSource } from "./release-source.ts";

describe("a release of images and archives in the registry", () => {
  let root: string;
  let served: ServedRegistry;
  let client: RegistryClient;
  let built: BuiltStack;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-release-source-"));
    const disk = systemDisk();
    const ports = { disk, clock: systemClock(), random: systemRandom(), logger: silentLogger };
    served = await serveRegistry(ports, { folder: join(root, "registry") });
    client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: served.url });
    for (const name of ["install", "output"]) await mkdir(join(root, name));
    await writeFile(join(root, "install", "run"), "", { mode: 0o755 });
    await writeFiles(join(root, "layout"), layoutFiles([await exampleImage()]));
    const choice = { platform: { os: "linux", architecture: "amd64" }, platformGiven: false };
    const found = await readLocalImage(
      disk,
      { path: join(root, "layout"), outputFolder: join(root, "output") },
      choice,
    );
    assert.ok(found.ok);
    const manifest = {
      kind: "muto.stack/v1",
      name: "stack",
      version: "1",
      compatibility: { vehicleModels: [], os: [], rosDistro: [] },
      resourceProfile: { diskMbMin: 1 },
      healthModel: { readinessTimeoutSec: 30 },
      workloads: [
        { name: "bridge", type: "native", archive: "./install", argv: ["run"] },
        { name: "camera", type: "oci", image: "./layout" },
      ],
    };
    const folders = new Map([["bridge", join(root, "install")]]);
    const images = new Map([["camera", found.image]]);
    const result = await buildStackArtifact(disk, { manifest, folders, images, outputFolder: join(root, "output") });
    assert.ok(result.ok);
    built = result.built;
    assert.ok((await pushStackArtifact({ client }, "stack", built)).ok);
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await rm(root, { recursive: true });
  });
  const look = async (digest: string) => {
    const role = { threshold: 1, keys: [] };
    const ports = { http: systemHttp(), clock: systemClock() };
    const source = createReleaseSource({ ...ports, registryUrl: () => served.url, role });
    return await source.look("stack", digest, new AbortController().signal);
  };

  test("names each image and each archive, and not what images are made of", async () => {
    const found = await look(built.artifact.manifestDigest);
    assert.ok(found.ok);
    const [bridge, camera] = found.manifest.workloads;
    assert.ok(bridge?.type === "native" && camera?.type === "oci");
    const place = `${new URL(served.url).host}/stack`;
    assert.deepEqual(found.artifacts, [
      { type: "oci_image", digest: camera.image, ref: `${place}@${camera.image}` },
      { type: "native_archive", digest: bridge.archive, ref: `${place}@${bridge.archive}` },
    ]);
    assert.equal(found.verified, false);
  });

  test("is refused when a layer of an image is not listed, or one too many is (mixed bundles, extraneous dependency)", async () => {
    const { artifact, stack } = built;
    const [first] = artifact.layers;
    assert.ok(first);
    const situations = {
      "image-blob-missing": artifact.layers.slice(0, -1),
      "image-blob-not-named": [
        ...artifact.layers,
        { ...artifact.config, digest: digestOf(built.manifestBytes), mediaType: OCI_LAYER_GZIP },
      ],
    };
    for (const [problem, layers] of Object.entries(situations)) {
      const bytes = encodeStackArtifact(stack, artifact.config, layers);
      const read = async (offset: number, length: number) => built.manifestBytes.subarray(offset, offset + length);
      const content = { digest: digestOf(built.manifestBytes), sizeBytes: built.manifestBytes.byteLength };
      assert.ok((await client.pushBlob("stack", { content, read })).ok);
      const put = await client.pushManifest("stack", { bytes, mediaType: OCI_MANIFEST });
      assert.ok(put.ok);
      const found = await look(put.digest);
      assert.deepEqual(found, { ok: false, problem: "invalid", details: [{ path: "", message: problem }] });
    }
  });
});

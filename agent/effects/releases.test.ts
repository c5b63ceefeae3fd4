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
import { digestOf } from "@muto/oci/digest";
import { exampleImage, layoutFiles, writeFiles } from "@muto/oci/example-image";
import type { ExampleImage } from "@muto/oci/example-image";
import { readLocalImage } from "@muto/oci/image-local";
import { serveRegistry } from "@muto/oci/registry/serve";
import { encodeStackArtifact, stackImages } from "@muto/oci/stack-artifact";
import { buildStackArtifact } from "@muto/oci/stack-build";
import type { BuiltStack } from "@muto/oci/stack-build";
import { pushStackArtifact } from "@muto/oci/stack-push";
import { openContentStore } from "../cache/content-store.ts";
import { createMemory } from "../memory.ts";
import { EMPTY_STATE } from "../reconcile/state.ts";
import { exampleConfig } from "../safety/example-vehicle.ts";
import { download, fetchRelease } from "./fetch.ts";
import { createReleases } from "./releases.ts";

const disk = systemDisk();
const signal = new AbortController().signal;

describe("a release of images and archives", () => {
  let root: string;
  let image: ExampleImage;
  let built: BuiltStack;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-releases-"));
    image = await exampleImage();
    await writeFiles(join(root, "layout"), layoutFiles([image]));
    await mkdir(join(root, "install"));
    await mkdir(join(root, "output"));
    await writeFile(join(root, "install", "run"), "", { mode: 0o755 });
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
  });
  after(() => rm(root, { recursive: true }));

  const vehicle = async (name: string) => {
    const content = await openContentStore(disk, join(root, name));
    return { content, releases: createReleases(content) };
  };
  const once = async function* (bytes: Uint8Array) {
    yield bytes;
  };
  const put = async ({ content }: Awaited<ReturnType<typeof vehicle>>, bytes: Uint8Array) => {
    await content.ingest({ digest: digestOf(bytes), sizeBytes: bytes.byteLength }, once(bytes));
  };

  test("is known with its manifests, then fetched blob by blob, each with its size", async () => {
    const ports = { disk, clock: systemClock(), random: systemRandom(), logger: silentLogger };
    await using served = await serveRegistry(ports, { folder: join(root, "registry") });
    const registry = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: served.url });
    const pushed = await pushStackArtifact({ client: registry }, "stack", built);
    assert.ok(pushed.ok);
    const { content, releases } = await vehicle("fetching");
    const memory = createMemory();
    const store = { state: EMPTY_STATE, record: async () => {}, fault: undefined };
    const services = { ...ports, content, releases, registry, memory, store, config: exampleConfig() };
    const at = { repository: "stack", digest: pushed.manifestDigest };

    await fetchRelease(services, { kind: "fetchRelease", ...at }, signal);
    assert.equal(memory.seen.download, null);
    const release = await releases.get(pushed.manifestDigest);
    assert.ok(release);
    assert.deepEqual(release.layers, built.artifact.layers);
    assert.ok(release.blobs.includes(image.manifest.digest), "nothing of it is collected as unknown");
    const missing = await releases.missing(pushed.manifestDigest);
    const manifests = new Set(stackImages(built.artifact).map(({ digest }) => digest));
    const { layers } = built.artifact;
    assert.deepEqual(
      missing,
      layers.flatMap(({ digest, sizeBytes }) => (manifests.has(digest) ? [] : [{ digest, sizeBytes }])),
    );
    for (const blob of missing) await download(services, { kind: "download", ...at, blob }, signal);
    assert.deepEqual(await releases.missing(pushed.manifestDigest), []);
    for (const digest of release.blobs) assert.equal(await content.verify(digest), "intact");
  });

  test("is not known without the manifest of an image, or with one that lists other blobs (mixed bundles)", async () => {
    const { artifact, manifestBytes, configBytes } = built;
    const partial = await vehicle("partial");
    for (const bytes of [manifestBytes, configBytes]) await put(partial, bytes);
    assert.equal(await partial.releases.get(artifact.manifestDigest), undefined);
    await put(partial, image.manifestBytes);
    assert.ok(await partial.releases.get(artifact.manifestDigest), "it is, as soon as that is here");

    const [last] = artifact.layers.slice(-1);
    const fewer = encodeStackArtifact(
      built.stack,
      artifact.config,
      artifact.layers.filter((layer) => layer !== last),
    );
    const mixed = await vehicle("mixed");
    for (const bytes of [fewer, configBytes, image.manifestBytes]) await put(mixed, bytes);
    assert.equal(await mixed.releases.get(digestOf(fewer)), undefined);
  });
});

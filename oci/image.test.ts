import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { systemDisk } from "@muto/kit/disk";
import { descriptorJson } from "./descriptor.ts";
import { digestHex, digestOf } from "./digest.ts";
import { exampleImage, jsonBytes, layoutFiles, tarOf, writeFiles } from "./example-image.ts";
import type { ExampleImage } from "./example-image.ts";
import { readLocalImage } from "./image-local.ts";
import { parseImageManifest } from "./image-manifest.ts";
import { choosePlatform } from "./image-source.ts";
import type { FoundImage, ImageChoice } from "./image-source.ts";
import {
  DOCKER_IMAGE_CONFIG,
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  OCI_EMPTY,
  OCI_IMAGE_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from "./media-types.ts";
import { parsePlatform, platformText } from "./platform.ts";
import { findInTar, indexTar } from "./tar-index.ts";

const disk = systemDisk();
const AMD64: ImageChoice = { platform: { os: "linux", architecture: "amd64" }, platformGiven: false };
const ARM64: ImageChoice = { platform: { os: "linux", architecture: "arm64" }, platformGiven: true };
const problemOf = (found: FoundImage) => (found.ok ? "ok" : found.problem);

describe("the manifest of an image", () => {
  const digest = digestOf(Buffer.from("x"));
  const blob = (mediaType: string, size = 10) => ({ mediaType, digest, size });
  const manifest = (extra: Record<string, unknown> = {}) => ({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: blob(OCI_IMAGE_CONFIG),
    layers: [blob(OCI_LAYER_GZIP)],
    ...extra,
  });
  const situations: Record<string, { value: unknown; problem: string }> = {
    "an OCI image": { value: manifest(), problem: "ok" },
    "an OCI image that does not name itself": { value: manifest({ mediaType: undefined }), problem: "ok" },
    "a Docker image": {
      value: manifest({
        mediaType: DOCKER_MANIFEST,
        config: blob(DOCKER_IMAGE_CONFIG),
        layers: [blob(DOCKER_LAYER_GZIP)],
      }),
      problem: "ok",
    },
    "plain layers": { value: manifest({ layers: [blob(OCI_LAYER), blob(OCI_LAYER)] }), problem: "ok" },
    "no layers": { value: manifest({ layers: [] }), problem: "ok" },
    "an index": { value: { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, problem: "index" },
    "an index that does not name itself": { value: { schemaVersion: 2, manifests: [] }, problem: "index" },
    "no manifest": { value: {}, problem: "not-a-manifest" },
    "a manifest of the first schema": { value: { schemaVersion: 1, fsLayers: [] }, problem: "not-a-manifest" },
    "another kind of manifest": { value: manifest({ mediaType: "text/plain" }), problem: "not-a-manifest" },
    "an artifact": { value: manifest({ artifactType: "application/x" }), problem: "not-an-image" },
    "an artifact without a configuration": { value: manifest({ config: blob(OCI_EMPTY) }), problem: "not-an-image" },
    "a zstd layer": {
      value: manifest({ layers: [blob(OCI_LAYER_GZIP), blob(`${OCI_LAYER}+zstd`)] }),
      problem: "zstd-layer",
    },
    "a Docker zstd layer": {
      value: manifest({ layers: [blob("application/vnd.docker.image.rootfs.diff.tar.zstd")] }),
      problem: "zstd-layer",
    },
    "a layer that lies elsewhere": {
      value: manifest({ layers: [blob("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")] }),
      problem: "layer-type",
    },
    "an encrypted layer": { value: manifest({ layers: [blob(`${OCI_LAYER_GZIP}+encrypted`)] }), problem: "layer-type" },
    "more layers than any engine takes": {
      value: manifest({ layers: Array.from({ length: 257 }, () => blob(OCI_LAYER_GZIP)) }),
      problem: "too-many-layers",
    },
    "an endless configuration": {
      value: manifest({ config: blob(OCI_IMAGE_CONFIG, 9_000_000) }),
      problem: "config-too-large",
    },
  };
  for (const [name, { value, problem }] of Object.entries(situations)) {
    test(name, () => {
      const parsed = parseImageManifest(jsonBytes(value));
      assert.equal(parsed.ok ? "ok" : parsed.problem, problem);
    });
  }

  test("is read into what an engine needs, and nothing that is no JSON or too long is read at all", () => {
    const parsed = parseImageManifest(jsonBytes(manifest({ layers: [blob(OCI_LAYER), blob(OCI_LAYER_GZIP)] })));
    assert.ok(parsed.ok);
    assert.deepEqual(parsed.image, {
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_IMAGE_CONFIG, digest, sizeBytes: 10 },
      layers: [
        { mediaType: OCI_LAYER, digest, sizeBytes: 10, compression: "none" },
        { mediaType: OCI_LAYER_GZIP, digest, sizeBytes: 10, compression: "gzip" },
      ],
    });
    assert.deepEqual(parseImageManifest(Buffer.from("{")), { ok: false, problem: "not-a-manifest" });
    assert.deepEqual(parseImageManifest(Buffer.alloc(5_000_000, " ")), { ok: false, problem: "manifest-too-large" });
  });
});

describe("an image on this computer", () => {
  let root: string;
  let output: string;
  let image: ExampleImage;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "muto-image-"));
    output = join(root, "output");
    await mkdir(output);
    image = await exampleImage();
  });
  after(() => rm(root, { recursive: true }));
  const read = (path: string, choice = AMD64) => readLocalImage(disk, { path, outputFolder: output }, choice);
  const inFolder = async (name: string, files: ReadonlyMap<string, Uint8Array>) => {
    await writeFiles(join(root, name), files);
    return join(root, name);
  };
  const inTar = async (name: string, files: ReadonlyMap<string, Uint8Array>) => {
    const bytes = await tarOf([...files].map(([entry, content]) => ({ name: entry, bytes: content })));
    await writeFile(join(root, name), bytes);
    return join(root, name);
  };
  const wholeBlob = async (found: FoundImage, digest: string, sizeBytes: number) => {
    assert.ok(found.ok);
    await using opened = await found.image.blob(digest).open();
    return Buffer.from(await opened.read(0, sizeBytes));
  };

  test("is taken from a layout as it is, in a folder, in a tar, and in a compressed tar", async () => {
    const files = layoutFiles([image]);
    const tar = await inTar("layout.tar", files);
    const packed = join(root, "layout.tar.gz");
    await writeFile(packed, gzipSync((await disk.read(tar)) ?? ""));
    for (const path of [await inFolder("layout", files), tar, packed]) {
      const found = await read(path);
      assert.ok(found.ok, path);
      assert.equal(found.image.digest, image.manifest.digest);
      assert.equal(platformText(found.image.platform), "linux/amd64");
      for (const [digest, bytes] of image.blobs) {
        if (digest !== image.manifest.digest)
          assert.ok((await wholeBlob(found, digest, bytes.byteLength)).equals(bytes));
      }
    }
  });

  test("that is damaged or incomplete is refused where it is released (attacker between build and release)", async () => {
    const [, second] = parsedLayers(image);
    const blob = `blobs/sha256/${digestHex(second ?? "")}`;
    const forged = new Map([...layoutFiles([image]), [blob, Buffer.from("forged")]]);
    const refused = await read(await inFolder("forged", forged));
    assert.deepEqual(refused, { ok: false, problem: "digest-mismatch", at: second });
    const partial = new Map([...layoutFiles([image])].filter(([name]) => name !== blob));
    assert.deepEqual(await read(await inTar("partial.tar", partial)), {
      ok: false,
      problem: "blob-missing",
      at: second,
    });
  });

  test("is chosen by platform where there are several; attestations are no images", async () => {
    const arm = await exampleImage({ platform: { os: "linux", architecture: "arm64", variant: "v8" }, texts: ["arm"] });
    const attestation = await exampleImage({ texts: ["sbom"], platform: { os: "unknown", architecture: "unknown" } });
    const all = await inFolder("index", layoutFiles([image, arm, attestation]));
    const here = await read(all);
    assert.equal(here.ok && here.image.digest, image.manifest.digest);
    const there = await read(all, ARM64);
    assert.equal(there.ok && there.image.digest, arm.manifest.digest);
    const riscv = await read(all, { ...AMD64, platform: { os: "linux", architecture: "riscv64" } });
    assert.deepEqual(riscv, {
      ok: false,
      problem: "no-such-platform",
      choices: ["linux/amd64", "linux/arm64/v8"],
    });
    const one = await inFolder("one", layoutFiles([arm, attestation]));
    assert.equal((await read(one)).ok, true, "the only one is taken while nobody asked for another");
    const held = await read(one, { ...AMD64, platformGiven: true });
    assert.deepEqual(held, { ok: false, problem: "other-platform", choices: ["linux/arm64/v8"] });
    const windows = await exampleImage({ platform: { os: "windows", architecture: "amd64" } });
    assert.equal(problemOf(await read(await inFolder("windows", layoutFiles([windows])))), "other-platform");
  });

  test("is chosen by name where there are several", async () => {
    const other = await exampleImage({ texts: ["other"] });
    const named = (one: ExampleImage, name: string) =>
      descriptorJson({ ...one.manifest, annotations: { "org.opencontainers.image.ref.name": name } });
    const manifests = [named(image, "planner"), named(other, "camera"), named(other, "camera-again")];
    const files = new Map([
      ...layoutFiles([image]),
      ...layoutFiles([other]),
      ["index.json", jsonBytes({ schemaVersion: 2, manifests })],
    ]);
    const path = await inFolder("named", files);
    const choices = ["planner", "camera", "camera-again"];
    assert.deepEqual(await read(path), { ok: false, problem: "several-images", choices });
    assert.deepEqual(await read(path, { ...AMD64, name: "x" }), { ok: false, problem: "no-such-image", choices });
    const found = await read(path, { ...AMD64, name: "camera" });
    assert.equal(found.ok && found.image.digest, other.manifest.digest);
  });

  const saved = (one: ExampleImage, changes: { readonly layers?: readonly Uint8Array[] } = {}) => {
    const layers = changes.layers ?? one.plainLayers;
    return new Map([
      ...layers.map((layer, index) => [`${index}/layer.tar`, layer] as const),
      ["config.json", one.configBytes],
      [
        "manifest.json",
        jsonBytes([
          {
            Config: "config.json",
            RepoTags: ["localhost/planner:1"],
            Layers: layers.map((_, index) => `${index}/layer.tar`),
          },
        ]),
      ],
    ]);
  };

  test("is made of what docker save wrote, the same each time, and keeps the id that engines give it", async () => {
    const path = await inTar("saved.tar", saved(image));
    const found = await read(path);
    assert.ok(found.ok);
    const { image: manifest, digest } = found.image;
    assert.equal(manifest.mediaType, DOCKER_MANIFEST);
    assert.equal(manifest.config.digest, digestOf(image.configBytes));
    assert.ok(manifest.layers.every(({ compression }) => compression === "gzip"));
    const again = await read(path, { ...AMD64, name: "planner:1" });
    assert.equal(again.ok && again.image.digest, digest);
    const [lowest] = manifest.layers;
    assert.ok(lowest);
    assert.equal(digestOf(await wholeBlob(found, lowest.digest, lowest.sizeBytes)), lowest.digest);
    const swapped = saved(image, { layers: image.plainLayers.toReversed() });
    assert.equal(problemOf(await read(await inTar("swapped.tar", swapped))), "digest-mismatch");
    const short = saved(image, { layers: image.plainLayers.slice(0, 1) });
    assert.equal(problemOf(await read(await inTar("short.tar", short))), "config-malformed");
  });

  test("of layers that docker save links or has compressed already is the same", async () => {
    const plain = await read(await inTar("plain.tar", saved(image)));
    const [first, second] = image.plainLayers;
    assert.ok(plain.ok && first && second);
    const packed = await read(
      await inTar("packed.tar", saved(image, { layers: image.plainLayers.map((one) => gzipSync(one)) })),
    );
    assert.ok(packed.ok);
    assert.equal(packed.image.image.config.digest, plain.image.image.config.digest);
    const entries = [...saved(image)].map(([name, bytes]) => ({ name, bytes }));
    const linked = await tarOf([
      ...entries.filter(({ name }) => name !== "1/layer.tar"),
      { name: "shared/real.tar", bytes: second },
      { name: "1/layer.tar", linkname: "../shared/real.tar" },
    ]);
    await writeFile(join(root, "linked.tar"), linked);
    const found = await read(join(root, "linked.tar"));
    assert.equal(found.ok && found.image.digest, plain.image.digest);
  });

  test("that newer Dockers save in both forms has its plain layers compressed", async () => {
    const plain = await exampleImage({ compressed: false });
    const both = new Map([...layoutFiles([plain]), ...saved(plain)]);
    const found = await read(await inTar("both.tar", both));
    assert.ok(found.ok && found.image.image.layers.every(({ compression }) => compression === "gzip"));
    const packedBoth = new Map([...layoutFiles([image]), ...saved(image)]);
    const kept = await read(await inTar("both-packed.tar", packedBoth));
    assert.equal(kept.ok && kept.image.digest, image.manifest.digest, "what is compressed keeps its digest");
  });

  test("is not found in what is none", async () => {
    await writeFile(join(root, "text"), "no tar");
    await writeFile(join(root, "text.gz"), gzipSync("no tar"));
    await writeFile(join(root, "broken.gz"), gzipSync(Buffer.alloc(100_000)).subarray(0, 50));
    const situations = {
      absent: "missing",
      text: "not-an-image-source",
      "text.gz": "not-an-image-source",
      "broken.gz": "not-an-image-source",
      output: "not-an-image-source",
    };
    for (const [name, problem] of Object.entries(situations)) {
      assert.equal(problemOf(await read(join(root, name))), problem, name);
    }
  });
});

test("a platform is chosen as people mean it", () => {
  const entry = (text: string) => {
    const platform = parsePlatform(text);
    assert.ok(platform);
    return { mediaType: OCI_MANIFEST, digest: digestOf(Buffer.from(text)), sizeBytes: 1, platform };
  };
  const situations = [
    { have: ["linux/amd64", "linux/arm64"], want: "linux/arm64", get: "linux/arm64" },
    { have: ["linux/amd64", "linux/arm64"], want: "linux/arm64/v8", get: "linux/arm64" },
    { have: ["linux/amd64", "linux/arm64/v8"], want: "linux/arm64", get: "linux/arm64/v8" },
    { have: ["linux/arm/v6", "linux/arm/v7"], want: "linux/arm/v7", get: "linux/arm/v7" },
    { have: ["linux/arm/v6", "linux/arm/v7"], want: "linux/arm", get: undefined },
    { have: ["linux/arm64", "linux/arm64/v9"], want: "linux/arm64", get: "linux/arm64" },
    { have: ["windows/amd64", "linux/amd64"], want: "linux/amd64", get: "linux/amd64" },
    { have: ["linux/amd64", "linux/arm64"], want: "linux/riscv64", get: undefined },
    { have: [], want: "linux/amd64", get: undefined },
  ];
  for (const { have, want, get } of situations) {
    const chosen = choosePlatform(have.map(entry), parsePlatform(want) ?? { os: "", architecture: "" });
    const platform = chosen.ok ? chosen.entry.platform : undefined;
    assert.equal(platform && platformText(platform), get, `${want} of ${have.join(", ")}`);
  }
  for (const text of ["", "linux", "linux/", "linux/arm64/v8/x", "Linux/ARM"])
    assert.equal(parsePlatform(text), undefined);
});

test("what a tar holds is found in place, whatever names and sizes it has", async () => {
  const folder = await mkdtemp(join(tmpdir(), "muto-tar-"));
  const name = fc
    .array(fc.stringMatching(/^[a-zé]{1,40}$/), { minLength: 1, maxLength: 8 })
    .map((parts) => parts.join("/"));
  const path = join(folder, "a.tar");
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.record({ name, bytes: fc.uint8Array({ maxLength: 1500 }) }), {
          selector: (entry) => entry.name,
          maxLength: 6,
        }),
        async (entries) => {
          await writeFile(path, await tarOf(entries));
          const index = await indexTar(disk, path);
          assert.ok(index);
          for (const entry of entries) {
            const found = findInTar(index, `./${entry.name}`);
            assert.ok(found, entry.name);
            await using file = await disk.open(path, "read");
            assert.deepEqual(await file.read(found.offset, found.sizeBytes), entry.bytes);
          }
        },
      ),
      { numRuns: 60 },
    );
    await writeFile(path, (await tarOf([{ name: "a", bytes: Buffer.alloc(2000) }])).subarray(0, 1500));
    assert.equal(await indexTar(disk, path), undefined, "a tar that ends in the middle");
    await writeFile(
      path,
      await tarOf([
        { name: "a", linkname: "b" },
        { name: "b", linkname: "a" },
      ]),
    );
    const circle = await indexTar(disk, path);
    assert.equal(circle && findInTar(circle, "a"), undefined, "links that lead in a circle");
  } finally {
    await rm(folder, { recursive: true });
  }
});

function parsedLayers(image: ExampleImage): readonly string[] {
  const parsed = parseImageManifest(image.manifestBytes);
  assert.ok(parsed.ok);
  return parsed.image.layers.map(({ digest }) => digest);
}

import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { parseJson } from "@muto/spec";
import { bytesSource, fileSource } from "./blob-source.ts";
import type { BlobSource } from "./blob-source.ts";
import { descriptorJson, isRecord } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { createDigester, digestHex, digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { gunzipped, gzipped } from "./gzip.ts";
import { parseImageConfig } from "./image-config.ts";
import { bytesOf, readSmall } from "./image-files.ts";
import type { ImageFile, ImageFiles } from "./image-files.ts";
import { IMAGE_CONFIG_BYTES_MAX } from "./image-manifest.ts";
import { imageOf, refuse } from "./image-source.ts";
import type { FoundImage, ImageChoice, ImageRefusal } from "./image-source.ts";
import { DOCKER_IMAGE_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST } from "./media-types.ts";

const BOUNDS = { bytesMax: 4 * 1024 * 1024, depthMax: 16 };

interface ArchivedImage {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

/**
 * An image from the archive that `docker save` and `podman save` write. It holds no manifest and mostly plain layers, so layers are
 * compressed and a manifest (Docker version 2 schema 2) is made of them, the same each time; the configuration stays, and with it
 * the id that engines give the image. Undefined when the files are no such archive.
 */
export async function imageInDockerArchive(
  files: ImageFiles,
  choice: ImageChoice,
  output: { readonly disk: Disk; readonly folder: string },
): Promise<FoundImage | undefined> {
  const list = await files.find("manifest.json");
  if (list === undefined) return undefined;
  const images = imagesIn(await readSmall(list, BOUNDS.bytesMax));
  if (images === undefined) return refuse("not-an-image-source");
  const chosen = oneImage(images, choice.name);
  if ("problem" in chosen) return chosen;
  const configFile = await files.find(chosen.config);
  const configBytes = configFile === undefined ? undefined : await readSmall(configFile, IMAGE_CONFIG_BYTES_MAX);
  if (configBytes === undefined) return { ...refuse("blob-missing"), at: chosen.config };
  const diffIds = parseImageConfig(configBytes)?.diffIds;
  if (diffIds?.length !== chosen.layers.length) return refuse("config-malformed");
  const sources = new Map<string, BlobSource>();
  const layers: Descriptor[] = [];
  for (const [index, name] of chosen.layers.entries()) {
    const file = await files.find(name);
    if (file === undefined) return { ...refuse("blob-missing"), at: name };
    const packed = await packLayer(file, output);
    // An archive has no other digests than these.
    if (packed.diffId !== diffIds[index]) return { ...refuse("digest-mismatch"), at: name };
    sources.set(packed.digest, packed.source);
    layers.push({ mediaType: DOCKER_LAYER_GZIP, digest: packed.digest, sizeBytes: packed.sizeBytes });
  }
  const config = {
    mediaType: DOCKER_IMAGE_CONFIG,
    digest: digestOf(configBytes),
    sizeBytes: configBytes.byteLength,
  };
  sources.set(config.digest, bytesSource(configBytes));
  const store = {
    small: async () => configBytes,
    blob: (digest: string) => {
      const source = sources.get(digest);
      if (source === undefined) throw new Error("a blob of the archive was not made");
      return source;
    },
  };
  return await imageOf(store, manifestBytes(config, layers), choice);
}

function imagesIn(bytes: Uint8Array | undefined): readonly ArchivedImage[] | undefined {
  const json = bytes === undefined ? undefined : parseJson(bytes, BOUNDS);
  if (json?.ok !== true || !Array.isArray(json.value)) return undefined;
  const images: ArchivedImage[] = [];
  for (const value of json.value) {
    if (!isRecord(value)) return undefined;
    const { Config: config, RepoTags: tags, Layers: layers } = value;
    if (typeof config !== "string" || !Array.isArray(layers)) return undefined;
    images.push({ config, layers: layers.map(String), tags: Array.isArray(tags) ? tags.map(String) : [] });
  }
  return images;
}

function oneImage(images: readonly ArchivedImage[], name: string | undefined): ArchivedImage | ImageRefusal {
  const choices = images.flatMap(({ tags }) => tags);
  const fitting = name === undefined ? images : images.filter(({ tags }) => tags.some((tag) => isNamed(tag, name)));
  const [image] = fitting;
  if (image === undefined) return { ...refuse("no-such-image"), choices };
  return fitting.length === 1 ? image : { ...refuse("several-images"), choices };
}

/** Podman writes `localhost/planner:1` where its user said `planner:1`. */
function isNamed(tag: string, name: string): boolean {
  return tag === name || tag === `localhost/${name}` || tag === `docker.io/library/${name}`;
}

async function packLayer(
  file: ImageFile,
  { disk, folder }: { readonly disk: Disk; readonly folder: string },
): Promise<ContentId & { readonly diffId: string; readonly source: BlobSource }> {
  const plain = createDigester();
  if (await isGzip(file)) {
    const packed = createDigester();
    for await (const chunk of gunzipped(seen(bytesOf(file), packed))) plain.update(chunk);
    return { digest: packed.digest(), sizeBytes: packed.sizeBytes(), diffId: plain.digest(), source: file };
  }
  const temporary = join(folder, "layer.partial");
  await disk.remove(temporary);
  const packed = createDigester();
  {
    await using written = await disk.open(temporary, "create", 0o644);
    for await (const chunk of gzipped(seen(bytesOf(file), plain))) {
      await written.write(packed.sizeBytes(), chunk);
      packed.update(chunk);
    }
  }
  const digest = packed.digest();
  const path = join(folder, `${digestHex(digest)}.layer`);
  await disk.rename(temporary, path);
  return { digest, sizeBytes: packed.sizeBytes(), diffId: plain.digest(), source: fileSource(disk, path) };
}

async function* seen(
  source: AsyncIterable<Uint8Array>,
  digester: { update(bytes: Uint8Array): void },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    digester.update(chunk);
    yield chunk;
  }
}

export async function isGzip(file: ImageFile): Promise<boolean> {
  await using opened = await file.open();
  const [first, second] = await opened.read(0, 2);
  return first === 0x1f && second === 0x8b;
}

function manifestBytes(config: Descriptor, layers: readonly Descriptor[]): Uint8Array {
  const manifest = {
    schemaVersion: 2,
    mediaType: DOCKER_MANIFEST,
    config: descriptorJson(config),
    layers: layers.map(descriptorJson),
  };
  return new Uint8Array(Buffer.from(JSON.stringify(manifest), "utf8"));
}

import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { descriptorJson } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestHex, digestOf } from "./digest.ts";
import { OCI_IMAGE_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST } from "./media-types.ts";
import type { Platform } from "./platform.ts";

/** Small images for tests, made by hand so that every byte of them can be wrong. */
export interface ExampleImage {
  readonly manifest: Descriptor;
  readonly manifestBytes: Uint8Array;
  readonly configBytes: Uint8Array;
  /** Plain tars, from the lowest layer to the topmost. */
  readonly plainLayers: readonly Uint8Array[];
  /** Everything by digest, the manifest included. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

export interface ExampleOptions {
  /** One layer for each text. */
  readonly texts?: readonly string[];
  readonly platform?: Platform;
  readonly compressed?: boolean;
}

export async function exampleImage(options: ExampleOptions = {}): Promise<ExampleImage> {
  const { texts = ["base", "program"], platform = { os: "linux", architecture: "amd64" }, compressed = true } = options;
  const plainLayers = await Promise.all(texts.map((text) => tarOf([{ name: "etc/note", bytes: Buffer.from(text) }])));
  const layers = plainLayers.map((plain) => (compressed ? new Uint8Array(gzipSync(plain)) : plain));
  const diffIds = plainLayers.map((plain) => `sha256:${createHash("sha256").update(plain).digest("hex")}`);
  const configBytes = jsonBytes({
    ...platform,
    config: { Cmd: ["/bin/true"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  const config = descriptor(OCI_IMAGE_CONFIG, configBytes);
  const parts = layers.map((layer) => descriptor(compressed ? OCI_LAYER_GZIP : OCI_LAYER, layer));
  const manifestBytes = jsonBytes({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptorJson(config),
    layers: parts.map(descriptorJson),
  });
  const all = [manifestBytes, configBytes, ...layers];
  const blobs = new Map(all.map((bytes) => [digestOf(bytes), bytes]));
  const manifest = { ...descriptor(OCI_MANIFEST, manifestBytes), platform };
  return { manifest, manifestBytes, configBytes, plainLayers, blobs };
}

/** The files of an OCI image layout that holds the images, by name, under an index of their platforms where there are several. */
export function layoutFiles(images: readonly ExampleImage[], name = "example"): ReadonlyMap<string, Uint8Array> {
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  const [only] = images;
  let top = only?.manifest;
  if (images.length !== 1) {
    const index = jsonBytes({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: images.map(({ manifest }) => descriptorJson(manifest)),
    });
    blobs.set(digestOf(index), index);
    top = descriptor(OCI_INDEX, index);
  }
  const entries = top === undefined ? [] : [{ ...top, annotations: { "org.opencontainers.image.ref.name": name } }];
  return new Map([
    ["oci-layout", jsonBytes({ imageLayoutVersion: "1.0.0" })],
    ["index.json", jsonBytes({ schemaVersion: 2, manifests: entries.map(descriptorJson) })],
    ...[...blobs].map(([digest, bytes]) => [`blobs/sha256/${digestHex(digest)}`, bytes] as const),
  ]);
}

export async function writeFiles(folder: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [name, bytes] of files) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
}

export interface ExampleEntry {
  readonly name: string;
  readonly bytes?: Uint8Array;
  readonly linkname?: string;
}

export async function tarOf(entries: readonly ExampleEntry[]): Promise<Uint8Array> {
  const archive = pack();
  for (const { name, bytes, linkname } of entries) {
    const mtime = new Date(0);
    if (linkname === undefined) archive.entry({ name, mtime }, Buffer.from(bytes ?? new Uint8Array()));
    else archive.entry({ name, mtime, type: "symlink", linkname });
  }
  archive.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive) {
    if (!(piece instanceof Uint8Array)) throw new TypeError("the archive gave no bytes");
    pieces.push(piece);
  }
  return new Uint8Array(Buffer.concat(pieces));
}

export function jsonBytes(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value), "utf8"));
}

function descriptor(mediaType: string, bytes: Uint8Array): Descriptor {
  return { mediaType, digest: digestOf(bytes), sizeBytes: bytes.byteLength };
}

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { digestHex, digestOf } from "@muto/oci/digest";
import { OCI_IMAGE_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST } from "@muto/oci/media-types";

/** A file, or a symbolic link, of an image. Folders are made where they are needed. */
export type ImageFile =
  | { readonly path: string; readonly bytes: Uint8Array }
  | { readonly path: string; readonly target: string };

export interface MadeImage {
  readonly digest: string;
  readonly manifestBytes: Uint8Array;
  /** Configuration and layers, by digest. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly architecture: string;
}

/**
 * A container image from scratch, without any tool: every file is there because somebody put it there, and the same files give
 * the same bytes.
 */
export function makeImage(layers: readonly (readonly ImageFile[])[], config: object): MadeImage {
  const tars = layers.map(tarOf);
  const packed = tars.map((tar) => new Uint8Array(gzipSync(tar, { level: 1 })));
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const configBytes = json({
    architecture,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: tars.map(digestOf) },
    history: layers.map(() => ({ created: "1970-01-01T00:00:00Z", created_by: "muto" })),
  });
  const manifestBytes = json({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptor(OCI_IMAGE_CONFIG, configBytes),
    layers: packed.map((layer) => descriptor(OCI_LAYER_GZIP, layer)),
  });
  const blobs = new Map([configBytes, ...packed].map((bytes) => [digestOf(bytes), bytes]));
  return { digest: digestOf(manifestBytes), manifestBytes, blobs, architecture };
}

/** As an OCI image layout, which `muto release push` takes. */
export function writeLayout(folder: string, { manifestBytes, blobs, architecture }: MadeImage): void {
  const blobFolder = join(folder, "blobs", "sha256");
  mkdirSync(blobFolder, { recursive: true });
  for (const [digest, bytes] of [...blobs, [digestOf(manifestBytes), manifestBytes] as const]) {
    writeFileSync(join(blobFolder, digestHex(digest)), bytes);
  }
  const manifest = { ...descriptor(OCI_MANIFEST, manifestBytes), platform: { os: "linux", architecture } };
  writeFileSync(join(folder, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(join(folder, "index.json"), json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [manifest] }));
}

const BLOCK_BYTES = 512;
const EXECUTABLE = 0o755;

function tarOf(files: readonly ImageFile[]): Uint8Array {
  const folders = new Set<string>();
  for (const { path } of files) {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth++) folders.add(`${parts.slice(0, depth).join("/")}/`);
  }
  const entries = [
    ...[...folders].toSorted().map((path) => tarHeader(path, "5", 0, "")),
    ...files.flatMap((file) =>
      "target" in file
        ? [tarHeader(file.path, "2", 0, file.target)]
        : [
            tarHeader(file.path, "0", file.bytes.byteLength, ""),
            file.bytes,
            Buffer.alloc((BLOCK_BYTES - (file.bytes.byteLength % BLOCK_BYTES)) % BLOCK_BYTES),
          ],
    ),
  ];
  return new Uint8Array(Buffer.concat([...entries, Buffer.alloc(2 * BLOCK_BYTES)]));
}

function tarHeader(path: string, type: "0" | "2" | "5", sizeBytes: number, target: string): Uint8Array {
  if (path.length > 99) throw new Error(`too long for a tar of this kind: ${path}`);
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(path, 0);
  header.write(octal(EXECUTABLE, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(sizeBytes, 12), 124);
  header.write(octal(0, 12), 136);
  header.write("        ", 148);
  header.write(type, 156);
  header.write(target, 157);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

function descriptor(mediaType: string, bytes: Uint8Array) {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
}

function json(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value)));
}

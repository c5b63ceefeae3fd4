import { ContentError, digestHex, digestOf, verified, type ContentId } from "@muto/oci/digest";
import { IMAGE_MANIFEST_BYTES_MAX, parseImageManifest } from "@muto/oci/image-manifest";
import { OCI_INDEX } from "@muto/oci/media-types";
import type { BlobReader } from "../../ports.ts";

/** An image as its verified OCI manifest describes it. */
export interface ImageContent {
  readonly manifest: ContentId & { readonly mediaType: string; readonly bytes: Uint8Array };
  readonly config: ContentId;
  readonly layers: readonly ContentId[];
}

/** The bytes of one image manifest, verified by its digest; undefined when they describe no image. Throws a ContentError for wrong bytes. */
export async function readImage(digest: string, blobs: BlobReader): Promise<ImageContent | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of blobs(digest)) {
    length += chunk.byteLength;
    if (length > IMAGE_MANIFEST_BYTES_MAX) throw new ContentError("too-large");
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(Buffer.concat(chunks, length));
  if (digestOf(bytes) !== digest) throw new ContentError("digest-mismatch");
  const parsed = parseImageManifest(bytes);
  if (!parsed.ok) return undefined;
  const { config, layers, mediaType } = parsed.image;
  return { manifest: { digest, sizeBytes: length, mediaType, bytes }, config, layers };
}

/**
 * One archive for every engine: in Docker's save format (`manifest.json`) and as an OCI layout (`index.json`) over the same
 * blobs, so that an engine that keeps images by manifest digest keeps this very manifest. What an engine needs to accept any
 * of it comes last: when a blob turns out to be damaged the stream throws, and nothing was loaded.
 */
export async function* imageArchive(image: ImageContent, tag: string, blobs: BlobReader): AsyncGenerator<Uint8Array> {
  const { manifest, config, layers } = image;
  const written = new Set<string>();
  for (const blob of [config, ...layers]) {
    if (written.has(blob.digest)) continue;
    written.add(blob.digest);
    yield tarHeader(blobPath(blob.digest), blob.sizeBytes);
    yield* verified(blobs(blob.digest), blob);
    yield padding(blob.sizeBytes);
  }
  const descriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.sizeBytes,
    annotations: { "io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.replace(/^.*:/, "") },
  };
  const saved = {
    Config: blobPath(config.digest),
    RepoTags: [tag],
    Layers: layers.map(({ digest }) => blobPath(digest)),
  };
  yield tarFile(blobPath(manifest.digest), manifest.bytes);
  yield tarFile("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  yield tarFile("index.json", json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor] }));
  yield tarFile("manifest.json", json([saved]));
  yield new Uint8Array(2 * BLOCK_BYTES);
}

const BLOCK_BYTES = 512;

function blobPath(digest: string): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

function json(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value), "utf8"));
}

function tarFile(path: string, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([tarHeader(path, bytes.byteLength), bytes, padding(bytes.byteLength)]));
}

/** POSIX ustar. Sizes beyond eight gigabytes are written in the base-256 form that every reader knows. */
function tarHeader(path: string, sizeBytes: number): Uint8Array {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(path, 0, 100, "latin1");
  header.write("0000644\0", 100, "latin1");
  header.write("0000000\0", 108, "latin1");
  header.write("0000000\0", 116, "latin1");
  if (sizeBytes < 8 ** 11) header.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  else {
    header.writeUInt8(0x80, 124);
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  header.write("00000000000\0", 136, "latin1");
  header.write("        ", 148, "latin1");
  header.write("0", 156, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return new Uint8Array(header);
}

function padding(sizeBytes: number): Uint8Array {
  return new Uint8Array((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

import { digestOf } from "@muto/oci/digest";
import { MANIFEST_BYTES_MAX } from "@muto/oci/pull";
import { parseStackArtifact, parseStackConfig, parseStackImages, stackImages } from "@muto/oci/stack-artifact";
import type { StackManifest } from "@muto/spec";
import type { ContentStore } from "../cache/content-store.ts";
import type { BlobRef } from "../reconcile/step.ts";

export interface StoredRelease {
  readonly manifest: StackManifest;
  /** Everything that has to be fetched to run it: archives, and the manifests, configurations and layers of images. */
  readonly layers: readonly BlobRef[];
  /** Digests of everything the release is made of, its manifests included. */
  readonly blobs: readonly string[];
}

/** Releases whose manifests are in the content store, verified when they are read and then kept: they cannot change. */
export interface Releases {
  get(manifestDigest: string): Promise<StoredRelease | undefined>;
  missing(manifestDigest: string): Promise<readonly BlobRef[]>;
  /** Forgets what is known of blobs after something was removed or found damaged. */
  recheck(): void;
}

export function createReleases(content: ContentStore): Releases {
  const known = new Map<string, StoredRelease>();
  const complete = new Set<string>();
  return {
    get: async (digest) => {
      const found = known.get(digest) ?? (await readRelease(content, digest));
      if (found !== undefined) known.set(digest, found);
      return found;
    },
    missing: async (digest) => {
      if (complete.has(digest)) return [];
      const missing: BlobRef[] = [];
      for (const layer of known.get(digest)?.layers ?? []) {
        if (!(await content.has(layer.digest))) missing.push({ digest: layer.digest, sizeBytes: layer.sizeBytes });
      }
      if (missing.length === 0 && known.has(digest)) complete.add(digest);
      return missing;
    },
    recheck: () => {
      complete.clear();
      known.clear();
    },
  };
}

async function readRelease(content: ContentStore, digest: string): Promise<StoredRelease | undefined> {
  const manifestBytes = await readVerified(content, digest);
  const parsed = manifestBytes === undefined ? undefined : parseStackArtifact(manifestBytes, digest);
  if (parsed?.ok !== true) return undefined;
  const { artifact } = parsed;
  const configBytes = await readVerified(content, artifact.config.digest);
  const config = configBytes === undefined ? undefined : parseStackConfig(configBytes, artifact);
  if (config?.ok !== true) return undefined;
  const manifests = new Map<string, Uint8Array>();
  for (const layer of stackImages(artifact)) {
    const bytes = await readVerified(content, layer.digest);
    if (bytes !== undefined) manifests.set(layer.digest, bytes);
  }
  if (!parseStackImages(manifests, artifact).ok) return undefined;
  const blobs = [digest, artifact.config.digest, ...artifact.layers.map((layer) => layer.digest)];
  return { manifest: config.stack, layers: artifact.layers, blobs };
}

/** Bytes of a small blob, or undefined when it is missing, too large or not what its digest says. */
async function readVerified(content: ContentStore, digest: string): Promise<Uint8Array | undefined> {
  const sizeBytes = await content.sizeBytes(digest);
  if (sizeBytes === undefined || sizeBytes > MANIFEST_BYTES_MAX) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of content.openRead(digest)) chunks.push(chunk);
  const bytes = new Uint8Array(Buffer.concat(chunks));
  return digestOf(bytes) === digest ? bytes : undefined;
}

import type { StackManifest } from "@muto/spec";
import type { RegistryFailure } from "./ask.ts";
import type { RegistryClient } from "./client.ts";
import type { ContentId } from "./digest.ts";
import type { ImageManifest } from "./image-manifest.ts";
import { parseStackArtifact, parseStackConfig, parseStackImages, stackImages } from "./stack-artifact.ts";
import type { ArtifactRefusal, StackArtifact } from "./stack-artifact.ts";

export type PulledStack = ({ readonly ok: true } & DescribedStack) | ArtifactRefusal | RegistryFailure;

/** Everything that describes a stack: what it is made of is proved to be listed, and may still have to be fetched. */
export interface DescribedStack {
  readonly artifact: StackArtifact;
  readonly stack: StackManifest;
  /** By the digest that workloads name. */
  readonly images: ReadonlyMap<string, ImageManifest>;
  readonly manifestBytes: Uint8Array;
  readonly configBytes: Uint8Array;
}

/** Fetches what describes a stack by digest: the OCI manifest, the stack manifest, and the manifests of its images. */
export async function pullStack(
  client: RegistryClient,
  repository: string,
  manifestDigest: string,
  signal?: AbortSignal,
): Promise<PulledStack> {
  const manifest = await client.pullManifest(repository, manifestDigest, signal);
  if (!manifest.ok) return manifest;
  const parsed = parseStackArtifact(manifest.bytes, manifestDigest);
  if (!parsed.ok) return parsed;
  const { artifact } = parsed;
  const configuration = await pullSmallBlob(client, repository, artifact.config, signal);
  if (!configuration.ok) return configuration;
  const config = parseStackConfig(configuration.bytes, artifact);
  if (!config.ok) return config;
  const manifests = new Map<string, Uint8Array>();
  for (const layer of stackImages(artifact)) {
    const image = await pullSmallBlob(client, repository, layer, signal);
    if (!image.ok) return image;
    manifests.set(layer.digest, image.bytes);
  }
  const images = parseStackImages(manifests, artifact);
  if (!images.ok) return images;
  return {
    ok: true,
    artifact,
    stack: config.stack,
    images: images.images,
    manifestBytes: manifest.bytes,
    configBytes: configuration.bytes,
  };
}

/** A blob whose size has been found small enough for memory. */
export async function pullSmallBlob(
  client: RegistryClient,
  repository: string,
  content: ContentId,
  signal?: AbortSignal,
): Promise<{ readonly ok: true; readonly bytes: Uint8Array } | RegistryFailure> {
  const pieces: Uint8Array[] = [];
  const write = async (piece: Uint8Array) => void pieces.push(piece);
  const pulled = await client.pullBlob(repository, { content, write, ...(signal === undefined ? {} : { signal }) });
  return pulled.ok ? { ok: true, bytes: new Uint8Array(Buffer.concat(pieces)) } : pulled;
}

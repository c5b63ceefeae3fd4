import { MEDIA_TYPES, parseJson, parseStackManifest } from "@muto/spec";
import type { Problem, StackManifest } from "@muto/spec";
import { descriptorJson, parseManifest } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import {
  IMAGE_MANIFEST_BYTES_MAX,
  isImageBlobType,
  isImageManifestType,
  parseImageManifest,
} from "./image-manifest.ts";
import type { ImageManifest } from "./image-manifest.ts";
import { OCI_MANIFEST } from "./media-types.ts";
import { stackProblems } from "./stack-consistency.ts";

/**
 * A stack as an OCI artifact: the configuration blob is the stack manifest, and the layers are, flat, every blob that a vehicle
 * needs: the archives of native workloads, and of each image its manifest, its configuration and its layers. The digest of the
 * OCI manifest is the release's `manifestDigest`; signing it covers everything below it.
 */
export interface StackArtifact {
  readonly manifestDigest: string;
  /** The blob that holds the stack manifest. */
  readonly config: ContentId;
  /** Every blob besides the stack manifest, each once, in the order of the OCI manifest. */
  readonly layers: readonly StackLayer[];
}

export interface StackLayer extends ContentId {
  readonly mediaType: string;
}

export type ArtifactProblem =
  | "digest-mismatch"
  | "not-a-manifest"
  | "wrong-artifact-type"
  | "wrong-config-type"
  | "wrong-layer-type"
  | "too-many-layers"
  /** The same blob is listed twice. */
  | "layer-twice"
  | "not-a-stack-manifest"
  /** A workload names an archive that is no layer. */
  | "archive-missing"
  /** An archive that no workload names (extraneous dependency). */
  | "archive-not-named"
  /** A workload names an image whose manifest is no layer. */
  | "image-missing"
  /** The manifest of an image that no workload names (extraneous dependency). */
  | "image-not-named"
  /** What a workload names as an image is none that an engine would take. */
  | "not-an-image"
  /** The configuration or a layer of an image is not listed, or with another size. */
  | "image-blob-missing"
  /** A blob that belongs to no image (extraneous dependency). */
  | "image-blob-not-named";

export type ArtifactRefusal = {
  readonly ok: false;
  readonly problem: ArtifactProblem;
  /** What is wrong inside the stack manifest, by place. */
  readonly problems?: readonly Problem[];
};

/** Sixty-four workloads, and images of some forty layers that share most of them. */
export const STACK_LAYERS_MAX = 512;
const CONFIG_BYTES_MAX = 1024 * 1024;
const MANIFEST_BOUNDS = { bytesMax: 4 * 1024 * 1024, depthMax: 16 };

/** Reads the OCI manifest that has the digest: which blobs there are. Nothing else of the artifact is needed for this. */
export function parseStackArtifact(
  bytes: Uint8Array,
  manifestDigest: string,
): { readonly ok: true; readonly artifact: StackArtifact } | ArtifactRefusal {
  if (digestOf(bytes) !== manifestDigest) return refuse("digest-mismatch");
  const json = parseJson(bytes, MANIFEST_BOUNDS);
  const manifest = json.ok ? parseManifest(json.value) : undefined;
  if (manifest === undefined || (manifest.mediaType ?? OCI_MANIFEST) !== OCI_MANIFEST) return refuse("not-a-manifest");
  const { config, layers, artifactType } = manifest;
  if (artifactType !== MEDIA_TYPES.stackArtifact) return refuse("wrong-artifact-type");
  if (config.mediaType !== MEDIA_TYPES.stackManifest || config.sizeBytes > CONFIG_BYTES_MAX)
    return refuse("wrong-config-type");
  if (layers.length > STACK_LAYERS_MAX) return refuse("too-many-layers");
  if (!layers.every(isStackLayer)) return refuse("wrong-layer-type");
  if (new Set([config.digest, ...layers.map(({ digest }) => digest)]).size !== layers.length + 1)
    return refuse("layer-twice");
  return { ok: true, artifact: { manifestDigest, config: idOf(config), layers: layers.map(layerOf) } };
}

/** Reads the configuration blob of an artifact: the stack manifest, consistent in itself and with the artifact's layers. */
export function parseStackConfig(
  bytes: Uint8Array,
  artifact: StackArtifact,
): { readonly ok: true; readonly stack: StackManifest } | ArtifactRefusal {
  if (bytes.byteLength !== artifact.config.sizeBytes || digestOf(bytes) !== artifact.config.digest) {
    return refuse("digest-mismatch");
  }
  const json = parseJson(bytes);
  const parsed = json.ok ? parseStackManifest(json.value) : json;
  if (!parsed.ok) return { ...refuse("not-a-stack-manifest"), problems: parsed.problems };
  const stack = parsed.value;
  const problems = stackProblems(stack);
  if (problems.length > 0) return { ...refuse("not-a-stack-manifest"), problems };
  const archives = compare(stack.workloads.flatMap(archiveOf), stackArchives(artifact));
  if (archives !== "same") return refuse(archives === "missing" ? "archive-missing" : "archive-not-named");
  const images = compare(stack.workloads.flatMap(imageOf), stackImages(artifact));
  if (images !== "same") return refuse(images === "missing" ? "image-missing" : "image-not-named");
  return { ok: true, stack };
}

/**
 * Reads the manifests of all images of an artifact, by digest, and holds them against its layers: each configuration and layer
 * must be listed with the same size, and nothing may be listed that belongs to no image (mixed bundles, extraneous dependency).
 */
export function parseStackImages(
  manifests: ReadonlyMap<string, Uint8Array>,
  artifact: StackArtifact,
): { readonly ok: true; readonly images: ReadonlyMap<string, ImageManifest> } | ArtifactRefusal {
  const images = new Map<string, ImageManifest>();
  const listed = new Map(artifact.layers.map((layer) => [layer.digest, layer]));
  const needed = new Set<string>();
  for (const { digest, sizeBytes, mediaType } of stackImages(artifact)) {
    const bytes = manifests.get(digest);
    if (bytes === undefined) return refuse("image-missing");
    if (bytes.byteLength !== sizeBytes || digestOf(bytes) !== digest) return refuse("digest-mismatch");
    const parsed = parseImageManifest(bytes);
    if (!parsed.ok || parsed.image.mediaType !== mediaType) return refuse("not-an-image");
    for (const blob of [parsed.image.config, ...parsed.image.layers]) {
      const layer = listed.get(blob.digest);
      if (layer?.sizeBytes !== blob.sizeBytes || !isImageBlobType(layer.mediaType)) return refuse("image-blob-missing");
      needed.add(blob.digest);
    }
    images.set(digest, parsed.image);
  }
  const blobs = artifact.layers.filter(({ mediaType }) => isImageBlobType(mediaType));
  return blobs.every(({ digest }) => needed.has(digest)) ? { ok: true, images } : refuse("image-blob-not-named");
}

/** The archives of native workloads among the layers. */
export function stackArchives({ layers }: Pick<StackArtifact, "layers">): readonly StackLayer[] {
  return layers.filter(({ mediaType }) => mediaType === MEDIA_TYPES.stackArchive);
}

/** The manifests of images among the layers: small blobs that say what else belongs to each image. */
export function stackImages({ layers }: Pick<StackArtifact, "layers">): readonly StackLayer[] {
  return layers.filter(({ mediaType }) => isImageManifestType(mediaType));
}

/** The bytes of the OCI manifest for a configuration and its layers; the same input gives the same bytes. */
export function encodeStackArtifact(
  stack: { readonly name: string; readonly version: string },
  config: ContentId,
  layers: readonly (StackLayer & { readonly title?: string })[],
): Uint8Array {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: MEDIA_TYPES.stackArtifact,
    config: descriptorJson({ mediaType: MEDIA_TYPES.stackManifest, ...config }),
    layers: layers.map(({ title, mediaType, digest, sizeBytes }) => {
      const annotations = title === undefined ? {} : { annotations: { "org.opencontainers.image.title": title } };
      return descriptorJson({ mediaType, digest, sizeBytes, ...annotations });
    }),
    annotations: { "org.opencontainers.image.title": stack.name, "org.opencontainers.image.version": stack.version },
  };
  return new Uint8Array(Buffer.from(JSON.stringify(manifest), "utf8"));
}

function isStackLayer({ mediaType, sizeBytes }: Descriptor): boolean {
  if (isImageManifestType(mediaType)) return sizeBytes <= IMAGE_MANIFEST_BYTES_MAX;
  return mediaType === MEDIA_TYPES.stackArchive || isImageBlobType(mediaType);
}

function compare(named: readonly string[], listed: readonly StackLayer[]): "same" | "missing" | "not-named" {
  const wanted = new Set(named);
  const present = new Set(listed.map(({ digest }) => digest));
  if ([...wanted].some((digest) => !present.has(digest))) return "missing";
  return wanted.size === listed.length ? "same" : "not-named";
}

function archiveOf(workload: StackManifest["workloads"][number]): readonly string[] {
  return workload.type === "native" ? [workload.archive] : [];
}

function imageOf(workload: StackManifest["workloads"][number]): readonly string[] {
  return workload.type === "oci" ? [workload.image] : [];
}

function idOf({ digest, sizeBytes }: Descriptor): ContentId {
  return { digest, sizeBytes };
}

function layerOf({ digest, sizeBytes, mediaType }: Descriptor): StackLayer {
  return { digest, sizeBytes, mediaType };
}

function refuse(problem: ArtifactProblem): ArtifactRefusal {
  return { ok: false, problem };
}

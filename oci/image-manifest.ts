import { parseJson } from "@muto/spec";
import { parseManifest } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import type { ContentId } from "./digest.ts";
import {
  DOCKER_IMAGE_CONFIG,
  DOCKER_INDEX,
  DOCKER_LAYER,
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  OCI_IMAGE_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from "./media-types.ts";

/** A container image for one platform, as its manifest describes it. */
export interface ImageManifest {
  readonly mediaType: ImageManifestType;
  readonly config: ImageBlob;
  /** From the lowest to the topmost, as they are applied; the same content may stand in the list more than once. */
  readonly layers: readonly ImageLayer[];
}

export type ImageManifestType = typeof OCI_MANIFEST | typeof DOCKER_MANIFEST;

export interface ImageBlob extends ContentId {
  readonly mediaType: string;
}

export interface ImageLayer extends ImageBlob {
  readonly compression: LayerCompression;
}

export type LayerCompression = "none" | "gzip";

export type ImageProblem =
  | "not-a-manifest"
  /** A list of images for several platforms, of which one has to be chosen. */
  | "index"
  /** An artifact that is no container image, such as a signature or a chart. */
  | "not-an-image"
  /** Not every engine in the field can read zstd layers. */
  | "zstd-layer"
  /** A layer that lies elsewhere, is encrypted, or is of an unknown kind. */
  | "layer-type"
  | "too-many-layers"
  | "manifest-too-large"
  | "config-too-large";

export type ParsedImage =
  | { readonly ok: true; readonly image: ImageManifest }
  | { readonly ok: false; readonly problem: ImageProblem };

/** Engines stop far below: Docker at 127 layers. */
export const IMAGE_LAYERS_MAX = 256;
export const IMAGE_MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
/** A configuration lists commands, variables and history; its size is a matter of kilobytes. */
export const IMAGE_CONFIG_BYTES_MAX = 8 * 1024 * 1024;

const MANIFEST_BOUNDS = { bytesMax: IMAGE_MANIFEST_BYTES_MAX, depthMax: 16 };
const CONFIG_TYPES: ReadonlySet<string> = new Set([OCI_IMAGE_CONFIG, DOCKER_IMAGE_CONFIG]);
const COMPRESSIONS: ReadonlyMap<string, LayerCompression> = new Map([
  [OCI_LAYER, "none"],
  [OCI_LAYER_GZIP, "gzip"],
  [DOCKER_LAYER, "none"],
  [DOCKER_LAYER_GZIP, "gzip"],
]);

/**
 * Reads the manifest of one image: OCI image specification 1.1, or Docker's version 2 schema 2, which differ in media types
 * alone. The bytes have been verified against the image's digest by whoever calls.
 */
export function parseImageManifest(bytes: Uint8Array): ParsedImage {
  if (bytes.byteLength > IMAGE_MANIFEST_BYTES_MAX) return refuse("manifest-too-large");
  const json = parseJson(bytes, MANIFEST_BOUNDS);
  if (!json.ok) return refuse("not-a-manifest");
  if (isIndex(json.value)) return refuse("index");
  const manifest = parseManifest(json.value);
  const mediaType = manifestType(manifest?.mediaType ?? OCI_MANIFEST);
  if (manifest === undefined || mediaType === undefined) return refuse("not-a-manifest");
  const { config, layers: listed, artifactType } = manifest;
  if (artifactType !== undefined || !CONFIG_TYPES.has(config.mediaType)) return refuse("not-an-image");
  if (config.sizeBytes > IMAGE_CONFIG_BYTES_MAX) return refuse("config-too-large");
  if (listed.length > IMAGE_LAYERS_MAX) return refuse("too-many-layers");
  const layers: ImageLayer[] = [];
  for (const layer of listed) {
    const compression = COMPRESSIONS.get(layer.mediaType);
    if (compression === undefined) return refuse(isZstd(layer) ? "zstd-layer" : "layer-type");
    layers.push({ ...blobOf(layer), compression });
  }
  return { ok: true, image: { mediaType, config: blobOf(config), layers } };
}

export function isImageManifestType(mediaType: string): mediaType is ImageManifestType {
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
}

/** True for what a manifest of an image may name: its configuration and its layers. */
export function isImageBlobType(mediaType: string): boolean {
  return CONFIG_TYPES.has(mediaType) || COMPRESSIONS.has(mediaType);
}

function manifestType(mediaType: string): ImageManifestType | undefined {
  return isImageManifestType(mediaType) ? mediaType : undefined;
}

function isIndex(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const mediaType = "mediaType" in value ? value.mediaType : undefined;
  return mediaType === OCI_INDEX || mediaType === DOCKER_INDEX || ("manifests" in value && !("layers" in value));
}

function isZstd({ mediaType }: Descriptor): boolean {
  return mediaType.endsWith("+zstd") || mediaType.endsWith(".zstd");
}

function blobOf({ digest, sizeBytes, mediaType }: Descriptor): ImageBlob {
  return { digest, sizeBytes, mediaType };
}

function refuse(problem: ImageProblem): ParsedImage {
  return { ok: false, problem };
}

import type { BlobSource } from "./blob-source.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { parseImageConfig } from "./image-config.ts";
import { parseImageManifest } from "./image-manifest.ts";
import type { ImageManifest, ImageProblem } from "./image-manifest.ts";
import { isFor, platformText, variantOf } from "./platform.ts";
import type { Platform } from "./platform.ts";

/** An image of one platform that was found somewhere: in a layout, in an archive, or in a registry. */
export interface SourceImage {
  /** Digest of the manifest: what a workload names. */
  readonly digest: string;
  readonly manifestBytes: Uint8Array;
  readonly image: ImageManifest;
  readonly platform: Platform;
  /** Where the configuration or a layer is read from. */
  blob(digest: string): BlobSource;
}

export type FoundImage = { readonly ok: true; readonly image: SourceImage } | ImageRefusal;

export interface ImageRefusal {
  readonly ok: false;
  readonly problem: ImageSourceProblem;
  /** What there is instead: names of images, or platforms. */
  readonly choices?: readonly string[];
  /** The blob, file or layer at fault. */
  readonly at?: string;
}

export type ImageSourceProblem =
  | ImageProblem
  | "missing"
  /** Neither a layout, nor an archive of `docker save` or of OCI. */
  | "not-an-image-source"
  | "several-images"
  | "no-such-image"
  | "no-such-platform"
  /** The image is for another platform than the one asked for. */
  | "other-platform"
  | "config-malformed"
  | "blob-missing"
  | "digest-mismatch"
  | "registry-failed";

export interface ImageChoice {
  readonly platform: Platform;
  /** True when a person asked for the platform; an image that exists for one platform only is then held to it. */
  readonly platformGiven: boolean;
  /** Name inside a source that holds several images. */
  readonly name?: string;
}

/** Where an image's parts come from, whatever keeps them. */
export interface ImageStore {
  /** The whole of a small blob, verified against its digest. */
  small(content: ContentId): Promise<Uint8Array | ImageRefusal>;
  blob(digest: string): BlobSource;
}

/** A manifest and its configuration as an image, held against each other and against what was asked for. */
export async function imageOf(store: ImageStore, manifestBytes: Uint8Array, choice: ImageChoice): Promise<FoundImage> {
  const parsed = parseImageManifest(manifestBytes);
  if (!parsed.ok) return parsed;
  const { image } = parsed;
  const configBytes = await store.small(image.config);
  if ("problem" in configBytes) return configBytes;
  const config = parseImageConfig(configBytes);
  // A configuration says how many layers it was made of; another number would make an image that no engine takes.
  if (config === undefined || config.diffIds.length !== image.layers.length) return refuse("config-malformed");
  const { platform } = config;
  if (platform.os !== "linux" || (choice.platformGiven && !isFor(platform, choice.platform))) {
    return { ...refuse("other-platform"), choices: [platformText(platform)] };
  }
  const digest = digestOf(manifestBytes);
  return { ok: true, image: { digest, manifestBytes, image, platform, blob: (of) => store.blob(of) } };
}

/**
 * The entry of an index for a platform. Entries that are no images (attestations have the platform `unknown`) do not count. Where
 * an index has one entry only, it is taken; {@link imageOf} says later whether it may be.
 */
export function choosePlatform(
  entries: readonly Descriptor[],
  platform: Platform,
): { readonly ok: true; readonly entry: Descriptor } | ImageRefusal {
  const images = entries.filter((entry) => entry.platform?.os !== "unknown" && !isAttestation(entry));
  const [only] = images;
  if (images.length === 1 && only !== undefined) return { ok: true, entry: only };
  const fitting = images.filter((entry) => entry.platform !== undefined && isFor(entry.platform, platform));
  const exact = fitting.filter(
    (entry) => entry.platform !== undefined && variantOf(entry.platform) === variantOf(platform),
  );
  const [entry] = exact.length > 0 ? exact : fitting;
  if (entry !== undefined && (exact.length === 1 || fitting.length === 1)) return { ok: true, entry };
  const choices = images.flatMap((one) => (one.platform === undefined ? [] : [platformText(one.platform)]));
  return { ...refuse("no-such-platform"), choices: [...new Set(choices)] };
}

function isAttestation({ annotations }: Descriptor): boolean {
  return annotations?.["vnd.docker.reference.type"] !== undefined;
}

export function refuse(problem: ImageSourceProblem): ImageRefusal {
  return { ok: false, problem };
}

import type { BlobSource } from "./blob-source.ts";
import type { ImageManifest } from "./image-manifest.ts";

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

/** In the words of the OCI image specification, which are Go's: `linux`, `amd64`, `arm64`, `arm` with variant `v7`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

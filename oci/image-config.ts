import { parseJson } from "@muto/spec";
import { isRecord } from "./descriptor.ts";
import { isDigest } from "./digest.ts";
import { IMAGE_CONFIG_BYTES_MAX } from "./image-manifest.ts";
import { platformIn } from "./platform.ts";
import type { Platform } from "./platform.ts";

/** What Muto reads of an image's configuration; the engine reads the rest. */
export interface ImageConfig {
  readonly platform: Platform;
  /** Digests of the uncompressed layers, from the lowest to the topmost. */
  readonly diffIds: readonly string[];
}

/** Undefined when it is no configuration of an image. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig | undefined {
  const json = parseJson(bytes, { bytesMax: IMAGE_CONFIG_BYTES_MAX, depthMax: 32 });
  if (!json.ok || !isRecord(json.value)) return undefined;
  const platform = platformIn(json.value);
  const { rootfs } = json.value;
  const diffIds: unknown = isRecord(rootfs) ? rootfs["diff_ids"] : undefined;
  if (platform === undefined || !Array.isArray(diffIds)) return undefined;
  const digests = diffIds.filter((id: unknown): id is string => typeof id === "string" && isDigest(id));
  return digests.length === diffIds.length ? { platform, diffIds: digests } : undefined;
}

import { isDigest } from "./digest.ts";
import { platformIn } from "./platform.ts";
import type { Platform } from "./platform.ts";

/** A content descriptor as manifests and indexes carry it; only what Muto uses. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** In an index: what the image is for. */
  readonly platform?: Platform;
}

/** Reads one descriptor from a parsed manifest; undefined when anything about it is not as the image specification says. */
export function parseDescriptor(value: unknown): Descriptor | undefined {
  if (!isRecord(value)) return undefined;
  const { mediaType, digest, size, artifactType, annotations } = value;
  if (typeof mediaType !== "string" || mediaType.length > 255) return undefined;
  if (typeof digest !== "string" || !isDigest(digest)) return undefined;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return undefined;
  if (artifactType !== undefined && typeof artifactType !== "string") return undefined;
  const notes = annotations === undefined || annotations === null ? undefined : stringRecord(annotations);
  if (annotations !== undefined && annotations !== null && notes === undefined) return undefined;
  const platform = platformIn(value["platform"]);
  return {
    mediaType,
    digest,
    sizeBytes: size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(notes === undefined ? {} : { annotations: notes }),
    ...(platform === undefined ? {} : { platform }),
  };
}

/** A descriptor as it is written into a manifest. */
export function descriptorJson(descriptor: Descriptor): Readonly<Record<string, unknown>> {
  const { mediaType, digest, sizeBytes, artifactType, annotations, platform } = descriptor;
  return {
    mediaType,
    digest,
    size: sizeBytes,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(platform === undefined ? {} : { platform }),
  };
}

export interface Manifest {
  readonly mediaType: string | undefined;
  readonly artifactType: string | undefined;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject: Descriptor | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Reads an image manifest from parsed JSON; undefined when it is none. */
export function parseManifest(value: unknown): Manifest | undefined {
  if (!isRecord(value) || value["schemaVersion"] !== 2 || !Array.isArray(value["layers"])) return undefined;
  const layers = value["layers"].map(parseDescriptor);
  const config = parseDescriptor(value["config"]);
  const { mediaType, artifactType, subject, annotations } = value;
  if (config === undefined || !layers.every((layer) => layer !== undefined)) return undefined;
  const about = subject === undefined || subject === null ? undefined : parseDescriptor(subject);
  if (subject !== undefined && subject !== null && about === undefined) return undefined;
  return {
    mediaType: typeof mediaType === "string" ? mediaType : undefined,
    artifactType: typeof artifactType === "string" ? artifactType : undefined,
    config,
    layers,
    subject: about,
    annotations: stringRecord(annotations) ?? {},
  };
}

/** The entries of an image index; undefined when it is none. */
export function parseIndex(value: unknown): readonly Descriptor[] | undefined {
  if (!isRecord(value) || value["schemaVersion"] !== 2 || !Array.isArray(value["manifests"])) return undefined;
  const entries = value["manifests"].map(parseDescriptor);
  return entries.every((entry) => entry !== undefined) ? entries : undefined;
}

/** Parsed JSON of bytes that a registry gave, undefined when they are none; what it means is for the parsers above. */
export function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function stringRecord(value: unknown): Readonly<Record<string, string>> | undefined {
  if (!isRecord(value)) return undefined;
  const entries: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") return undefined;
    entries.push([key, text]);
  }
  return Object.fromEntries(entries);
}

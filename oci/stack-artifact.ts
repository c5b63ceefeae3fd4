import { MEDIA_TYPES, parseJson, parseStackManifest } from "@muto/spec";
import type { Problem, StackManifest } from "@muto/spec";
import { descriptorJson, parseManifest } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import type { ContentId } from "./digest.ts";
import { OCI_MANIFEST } from "./media-types.ts";
import { stackProblems } from "./stack-consistency.ts";

/**
 * A stack as an OCI artifact: the configuration blob is the stack manifest, every layer is one workspace archive. The digest
 * of the OCI manifest is the release's `manifestDigest`; signing it covers everything below it.
 */
export interface StackArtifact {
  readonly manifestDigest: string;
  /** The blob that holds the stack manifest. */
  readonly config: ContentId;
  /** Every archive that a workload names, in the order of the layers. */
  readonly archives: readonly ContentId[];
}

export type ArtifactProblem =
  | "digest-mismatch"
  | "not-a-manifest"
  | "wrong-artifact-type"
  | "wrong-config-type"
  | "wrong-layer-type"
  | "too-many-layers"
  | "not-a-stack-manifest"
  /** A workload names an archive that is no layer. */
  | "archive-missing"
  /** A layer that no workload names (extraneous dependency), or the same one twice. */
  | "archive-not-named";

export type ArtifactRefusal = {
  readonly ok: false;
  readonly problem: ArtifactProblem;
  /** What is wrong inside the stack manifest, by place. */
  readonly problems?: readonly Problem[];
};

const ARCHIVES_MAX = 64;
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
  if (layers.length > ARCHIVES_MAX) return refuse("too-many-layers");
  if (layers.some((layer) => layer.mediaType !== MEDIA_TYPES.stackArchive)) return refuse("wrong-layer-type");
  return { ok: true, artifact: { manifestDigest, config: idOf(config), archives: layers.map(idOf) } };
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
  const problems = stackProblems(parsed.value);
  if (problems.length > 0) return { ...refuse("not-a-stack-manifest"), problems };
  const named = new Set(
    parsed.value.workloads.map((workload) => (workload.type === "native" ? workload.archive : workload.image)),
  );
  const present = new Set(artifact.archives.map(({ digest }) => digest));
  if ([...named].some((digest) => !present.has(digest))) return refuse("archive-missing");
  if (named.size !== artifact.archives.length) return refuse("archive-not-named");
  return { ok: true, stack: parsed.value };
}

/** The bytes of the OCI manifest for a configuration and its archives; the same input gives the same bytes. */
export function encodeStackArtifact(
  stack: { readonly name: string; readonly version: string },
  config: ContentId,
  archives: readonly (ContentId & { readonly title: string })[],
): Uint8Array {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: MEDIA_TYPES.stackArtifact,
    config: descriptorJson({ mediaType: MEDIA_TYPES.stackManifest, ...config }),
    layers: archives.map(({ title, digest, sizeBytes }) =>
      descriptorJson({
        mediaType: MEDIA_TYPES.stackArchive,
        digest,
        sizeBytes,
        annotations: { "org.opencontainers.image.title": title },
      }),
    ),
    annotations: { "org.opencontainers.image.title": stack.name, "org.opencontainers.image.version": stack.version },
  };
  return new Uint8Array(Buffer.from(JSON.stringify(manifest), "utf8"));
}

function idOf({ digest, sizeBytes }: Descriptor): ContentId {
  return { digest, sizeBytes };
}

function refuse(problem: ArtifactProblem): ArtifactRefusal {
  return { ok: false, problem };
}

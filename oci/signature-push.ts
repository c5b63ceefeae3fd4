import type { SimpleSigningSignature } from "@muto/spec";
import { decodeBase64 } from "@muto/trust/base64";
import { signatureTag } from "@muto/trust/cosign";
import type { RegistryFailure } from "./ask.ts";
import type { RegistryClient } from "./client.ts";
import { descriptorJson, jsonIn, parseManifest } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import { COSIGN_SIGNATURE_ANNOTATION, COSIGN_SIMPLE_SIGNING, OCI_MANIFEST } from "./media-types.ts";

const IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json";
const SIGNATURES_MAX = 32;

/**
 * Puts a release signature where every cosign looks: an image under the tag `sha256-<hex>.sig`, one layer per signature. What
 * others signed before stays; the same signature twice is one. Two that push at the same moment may lose one of the two,
 * as with cosign itself; whoever checks afterwards sees it.
 */
export async function pushSignature(
  client: RegistryClient,
  options: {
    readonly repository: string;
    readonly manifestDigest: string;
    readonly signature: SimpleSigningSignature;
    readonly signal?: AbortSignal;
  },
): Promise<
  | { readonly ok: true; readonly tag: string }
  | RegistryFailure
  | { readonly ok: false; readonly problem: "tag-taken" | "malformed" | "too-many-signatures" }
> {
  const { repository, manifestDigest, signature, signal } = options;
  const payload = decodeBase64(signature.payload);
  if (payload === undefined) return { ok: false, problem: "malformed" };
  const tag = signatureTag(manifestDigest);
  const known = await knownLayers(client, repository, tag, signal);
  if (!known.ok) return known;
  const layer: Descriptor = {
    mediaType: COSIGN_SIMPLE_SIGNING,
    digest: digestOf(payload),
    sizeBytes: payload.byteLength,
    annotations: { [COSIGN_SIGNATURE_ANNOTATION]: signature.sig },
  };
  if (known.layers.some((one) => isSame(one, layer))) return { ok: true, tag };
  const layers = [...known.layers, layer];
  if (layers.length > SIGNATURES_MAX) return { ok: false, problem: "too-many-signatures" };
  const config = bytesOf(imageConfig(layers));
  for (const bytes of [payload, config]) {
    const pushed = await client.pushBlob(repository, { ...blobOf(bytes), ...(signal === undefined ? {} : { signal }) });
    if (!pushed.ok) return pushed;
  }
  const bytes = bytesOf({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptorJson({ mediaType: IMAGE_CONFIG, digest: digestOf(config), sizeBytes: config.byteLength }),
    layers: layers.map(descriptorJson),
  });
  const manifest = { bytes, mediaType: OCI_MANIFEST, tag, ...(signal === undefined ? {} : { signal }) };
  const pushed = await client.pushManifest(repository, manifest);
  return pushed.ok ? { ok: true, tag } : pushed;
}

async function knownLayers(
  client: RegistryClient,
  repository: string,
  tag: string,
  signal: AbortSignal | undefined,
): Promise<
  | { readonly ok: true; readonly layers: readonly Descriptor[] }
  | RegistryFailure
  | { readonly ok: false; readonly problem: "tag-taken" }
> {
  const pulled = await client.pullManifest(repository, tag, signal);
  if (!pulled.ok) return pulled.problem === "not-found" ? { ok: true, layers: [] } : pulled;
  const manifest = parseManifest(jsonIn(pulled.bytes));
  // Something else under this tag is somebody's, and not ours to replace.
  return manifest === undefined ? { ok: false, problem: "tag-taken" } : { ok: true, layers: manifest.layers };
}

/** An image must have a configuration; its layers are named by what they hold, which here is not compressed. */
function imageConfig(layers: readonly Descriptor[]): unknown {
  return {
    architecture: "",
    created: "0001-01-01T00:00:00Z",
    history: layers.map(() => ({ created: "0001-01-01T00:00:00Z" })),
    os: "",
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    config: {},
  };
}

function isSame(one: Descriptor, other: Descriptor): boolean {
  const sig = (descriptor: Descriptor) => descriptor.annotations?.[COSIGN_SIGNATURE_ANNOTATION];
  return one.digest === other.digest && sig(one) === sig(other);
}

function blobOf(bytes: Uint8Array): Parameters<RegistryClient["pushBlob"]>[1] {
  const read = async (offset: number, length: number) => bytes.subarray(offset, offset + length);
  return { content: { digest: digestOf(bytes), sizeBytes: bytes.byteLength }, read };
}

function bytesOf(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value), "utf8"));
}

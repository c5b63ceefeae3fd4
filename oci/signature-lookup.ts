import type { ReleaseSignature } from "@muto/spec";
import { encodeBase64 } from "@muto/trust/base64";
import { signatureTag, verifyReleaseSignature } from "@muto/trust/cosign";
import type { PublicKey } from "@muto/trust/keys";
import type { RegistryFailure } from "./ask.ts";
import type { RegistryClient } from "./client.ts";
import { jsonIn, parseManifest } from "./descriptor.ts";
import type { Descriptor, Manifest } from "./descriptor.ts";
import { COSIGN_SIGNATURE_ANNOTATION, COSIGN_SIMPLE_SIGNING, OCI_MANIFEST, SIGSTORE_BUNDLE } from "./media-types.ts";

/** The three places where signatures of a manifest may lie, in the order in which they are asked. */
export type SignaturePlace = "referrers-api" | "fallback-tag" | "signature-tag";

export interface FoundSignature {
  readonly signature: ReleaseSignature;
  readonly place: SignaturePlace;
  /** Digest of the blob that holds the payload or the bundle. */
  readonly digest: string;
  /** Ids of the given keys that it holds for; empty for a candidate that no key signed, or that says something else. */
  readonly keyids: readonly string[];
}

export interface SignatureLookup {
  /** Everything that was found and may be handed on, valid ones first. */
  readonly found: readonly FoundSignature[];
  /** Ids of all given keys that signed this digest. */
  readonly keyids: readonly string[];
  /** What could not be asked. With no signature found, this is why "none" cannot be said. */
  readonly failures: readonly { readonly place: SignaturePlace; readonly failure: RegistryFailure }[];
}

/** In each place, so that rubbish in one cannot hide what lies in another. */
const CANDIDATES_MAX = 32;
const PAYLOAD_BYTES_MAX = 15_000;
const BUNDLE_BYTES_MAX = 45_000;

/**
 * Looks for signatures of a manifest: OCI 1.1 referrers or their fallback tag, then the legacy `.sig` tag, in both of cosign's
 * forms. Entries are opened whatever their annotations say, because fallback lists often lack them. A reference never
 * brings a key: only the given ones count.
 */
export async function lookUpSignatures(
  client: RegistryClient,
  options: {
    readonly repository: string;
    readonly manifestDigest: string;
    readonly keys: readonly PublicKey[];
    readonly signal?: AbortSignal;
  },
): Promise<SignatureLookup> {
  const candidates: Candidate[] = [];
  const failures: { place: SignaturePlace; failure: RegistryFailure }[] = [];
  await collectReferrers(client, options, candidates, failures);
  await collectTagged(client, options, candidates, failures);

  const found: FoundSignature[] = [];
  for (const candidate of candidates) {
    const signature = await fetchSignature(client, options, candidate, failures);
    if (signature === undefined) continue;
    const verified = verifyReleaseSignature(signature, options.manifestDigest, options.keys);
    const keyids = verified.ok ? verified.keyids : [];
    found.push({ signature, place: candidate.place, digest: candidate.layer.digest, keyids });
  }
  const keyids = [...new Set(found.flatMap((one) => one.keyids))].toSorted();
  return { found: found.toSorted((a, b) => b.keyids.length - a.keyids.length), keyids, failures };
}

interface Candidate {
  readonly place: SignaturePlace;
  readonly layer: Descriptor;
}

type Options = Parameters<typeof lookUpSignatures>[1];
type Failures = { place: SignaturePlace; failure: RegistryFailure }[];

async function collectReferrers(
  client: RegistryClient,
  options: Options,
  candidates: Candidate[],
  failures: Failures,
): Promise<void> {
  const { repository, manifestDigest, signal } = options;
  const referrers = await client.listReferrers(repository, manifestDigest, signal);
  if (!referrers.ok) {
    failures.push({ place: "referrers-api", failure: referrers });
    return;
  }
  const place = referrers.via;
  for (const { mediaType, digest } of referrers.descriptors.slice(0, CANDIDATES_MAX)) {
    if (mediaType !== OCI_MANIFEST) continue;
    const manifest = await fetchManifest(client, options, digest, place, failures);
    if (manifest === undefined || (manifest.subject !== undefined && manifest.subject.digest !== manifestDigest))
      continue;
    candidates.push(...manifest.layers.slice(0, 1).map((layer) => ({ place, layer })));
  }
}

async function collectTagged(
  client: RegistryClient,
  options: Options,
  candidates: Candidate[],
  failures: Failures,
): Promise<void> {
  const place = "signature-tag";
  const manifest = await fetchManifest(client, options, signatureTag(options.manifestDigest), place, failures);
  candidates.push(...(manifest?.layers ?? []).slice(0, CANDIDATES_MAX).map((layer) => ({ place, layer }) as const));
}

async function fetchManifest(
  client: RegistryClient,
  { repository, signal }: Options,
  reference: string,
  place: SignaturePlace,
  failures: Failures,
): Promise<Manifest | undefined> {
  const pulled = await client.pullManifest(repository, reference, signal);
  if (pulled.ok) return parseManifest(jsonIn(pulled.bytes));
  if (pulled.problem !== "not-found") failures.push({ place, failure: pulled });
  return undefined;
}

async function fetchSignature(
  client: RegistryClient,
  { repository, signal }: Options,
  { place, layer }: Candidate,
  failures: Failures,
): Promise<ReleaseSignature | undefined> {
  const isBundle = layer.mediaType === SIGSTORE_BUNDLE;
  const sig = layer.annotations?.[COSIGN_SIGNATURE_ANNOTATION];
  if (!isBundle && (layer.mediaType !== COSIGN_SIMPLE_SIGNING || sig === undefined)) return undefined;
  if (layer.sizeBytes > (isBundle ? BUNDLE_BYTES_MAX : PAYLOAD_BYTES_MAX)) return undefined;
  const pieces: Uint8Array[] = [];
  const write = async (piece: Uint8Array) => void pieces.push(piece);
  const pulled = await client.pullBlob(repository, {
    content: layer,
    write,
    ...(signal === undefined ? {} : { signal }),
  });
  if (!pulled.ok) {
    failures.push({ place, failure: pulled });
    return undefined;
  }
  const bytes = encodeBase64(new Uint8Array(Buffer.concat(pieces)));
  return isBundle
    ? { form: "sigstore-bundle", bundle: bytes }
    : { form: "simple-signing", payload: bytes, sig: sig ?? "" };
}

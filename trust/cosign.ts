import type { ReleaseSignature, SimpleSigningSignature } from "@muto/spec";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { verifyEnvelope } from "./dsse.ts";
import type { PublicKey, Signer } from "./keys.ts";
import { hasOnlyKeys, isRecord, parseStrictJson } from "./strict-json.ts";

/**
 * Release signatures as cosign makes and accepts them with a plain key: the simple-signing payload of its `.sig` tags, and
 * the DSSE form of sigstore bundles (0.3). Such a signature says one thing: the holder of this key signed this digest.
 * Name, version, target and time come from our own documents. No transparency log is asked; the key alone decides.
 */
const PAYLOAD_TYPE_OF_SIGNATURE = "cosign container image signature";
const BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT_PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const SIGN_PREDICATE_TYPE = "https://sigstore.dev/cosign/sign/v1";

const PAYLOAD_BYTES_MAX = 15_000;
const BUNDLE_BYTES_MAX = 45_000;
const SUBJECTS_MAX = 16;
const SIGNATURE_BYTES_MAX = 1024;

/** In the order in which they say more about what happened; all in the words of the contract's verification evidence. */
export type ReleaseProblem =
  | "release-unsigned"
  | "malformed"
  | "too-large"
  | "unknown-key"
  | "wrong-type"
  | "digest-mismatch"
  | "threshold-unmet";

export type VerifiedSignature =
  | { readonly ok: true; readonly keyids: readonly string[] }
  | { readonly ok: false; readonly problem: Exclude<ReleaseProblem, "release-unsigned" | "threshold-unmet"> };

export type VerifiedRelease =
  | { readonly ok: true; readonly keyids: readonly string[] }
  | { readonly ok: false; readonly problem: ReleaseProblem; readonly keyids: readonly string[] };

/**
 * The exact bytes that cosign signs for a digest: Go's compact JSON, keys in the order of its structs, annotations sorted.
 * `dockerReference` is `registry/repository`; nobody believes it, and cosign ignores it when it verifies.
 */
export function cosignPayload(options: {
  readonly dockerReference: string;
  readonly manifestDigest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}): Uint8Array {
  const { dockerReference, manifestDigest, annotations } = options;
  const sorted = Object.entries(annotations ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const payload = {
    critical: {
      identity: { "docker-reference": dockerReference },
      image: { "docker-manifest-digest": manifestDigest },
      type: PAYLOAD_TYPE_OF_SIGNATURE,
    },
    optional: sorted.length === 0 ? null : Object.fromEntries(sorted),
  };
  return new Uint8Array(Buffer.from(escapeLikeGo(JSON.stringify(payload)), "utf8"));
}

/** Makes the signature that `cosign sign --key` would make, in the form that both cosign and a vehicle accept. */
export async function signRelease(
  signer: Signer,
  options: Parameters<typeof cosignPayload>[0],
): Promise<SimpleSigningSignature> {
  const payload = cosignPayload(options);
  return { form: "simple-signing", payload: encodeBase64(payload), sig: encodeBase64(await signer.sign(payload)) };
}

/** Counts different release keys over all signatures offered. Guards against arbitrary software: attack 11. */
export function verifyRelease(
  signatures: readonly ReleaseSignature[],
  manifestDigest: string,
  policy: { readonly keys: readonly PublicKey[]; readonly threshold: number },
): VerifiedRelease {
  const valid = new Set<string>();
  let worst: ReleaseProblem = "release-unsigned";
  for (const signature of signatures) {
    const verified = verifyReleaseSignature(signature, manifestDigest, policy.keys);
    if (verified.ok) for (const keyid of verified.keyids) valid.add(keyid);
    else if (TELLING.indexOf(verified.problem) > TELLING.indexOf(worst)) worst = verified.problem;
  }
  const keyids = [...valid].toSorted();
  if (keyids.length > 0 && policy.threshold >= 1 && keyids.length >= policy.threshold) return { ok: true, keyids };
  return { ok: false, problem: keyids.length > 0 ? "threshold-unmet" : worst, keyids };
}

const TELLING: readonly ReleaseProblem[] = [
  "release-unsigned",
  "malformed",
  "too-large",
  "unknown-key",
  "wrong-type",
  "digest-mismatch",
  "threshold-unmet",
];

/** One signature in either form: signature first, then only the verified bytes are read, then type, then digest. */
export function verifyReleaseSignature(
  signature: ReleaseSignature,
  manifestDigest: string,
  keys: readonly PublicKey[],
): VerifiedSignature {
  switch (signature.form) {
    case "simple-signing":
      return verifySimpleSigning(signature, manifestDigest, keys);
    case "sigstore-bundle":
      return verifyBundle(signature.bundle, manifestDigest, keys);
  }
}

function verifySimpleSigning(
  { payload, sig }: SimpleSigningSignature,
  manifestDigest: string,
  keys: readonly PublicKey[],
): VerifiedSignature {
  const bytes = decodeBase64(payload);
  const signature = decodeBase64(sig);
  if (bytes === undefined || signature === undefined) return refuse("malformed");
  if (bytes.byteLength > PAYLOAD_BYTES_MAX || signature.byteLength > SIGNATURE_BYTES_MAX) return refuse("too-large");
  const signed = keys.filter((key) => key.verify(bytes, signature));
  if (signed.length === 0) return refuse("unknown-key");
  const claims = readClaims(bytes);
  if (claims === undefined) return refuse("malformed");
  if (claims.type !== PAYLOAD_TYPE_OF_SIGNATURE) return refuse("wrong-type");
  if (claims.digest !== manifestDigest) return refuse("digest-mismatch");
  return { ok: true, keyids: [...new Set(signed.map(({ keyid }) => keyid))] };
}

/** Go's reader takes keys in any case, and the last of two; a payload that two readers could read differently is refused. */
function readClaims(bytes: Uint8Array): { readonly type: string; readonly digest: string } | undefined {
  const value = parseStrictJson(bytes, { bytesMax: PAYLOAD_BYTES_MAX, depthMax: 16 });
  if (!isRecord(value) || !hasOnlyKeys(value, "critical", "optional")) return undefined;
  const critical = value["critical"];
  if (!isRecord(critical) || !hasOnlyKeys(critical, "identity", "image", "type")) return undefined;
  const { identity, image, type } = critical;
  if (!isRecord(identity) || !hasOnlyKeys(identity, "docker-reference")) return undefined;
  if (!isRecord(image) || !hasOnlyKeys(image, "docker-manifest-digest")) return undefined;
  const digest = image["docker-manifest-digest"];
  return typeof type === "string" && typeof digest === "string" ? { type, digest } : undefined;
}

function verifyBundle(base64: string, manifestDigest: string, keys: readonly PublicKey[]): VerifiedSignature {
  const bytes = decodeBase64(base64);
  if (bytes === undefined) return refuse("malformed");
  if (bytes.byteLength > BUNDLE_BYTES_MAX) return refuse("too-large");
  const bundle = parseStrictJson(bytes, { bytesMax: BUNDLE_BYTES_MAX, depthMax: 32 });
  if (!isRecord(bundle)) return refuse("malformed");
  // Attestations of other kinds (a list of ingredients, a build log) may be signed with the same key: they release nothing.
  if (bundle["mediaType"] !== BUNDLE_TYPE || bundle["dsseEnvelope"] === undefined) return refuse("wrong-type");
  const policy = { payloadType: STATEMENT_PAYLOAD_TYPE, keys, threshold: 1, payloadBytesMax: PAYLOAD_BYTES_MAX };
  const verified = verifyEnvelope(withoutForeignKeyIds(bundle["dsseEnvelope"]), policy);
  if (!verified.ok) return refuse(verified.problem === "threshold-unmet" ? "unknown-key" : verified.problem);
  const statement = parseStrictJson(verified.payload, { bytesMax: PAYLOAD_BYTES_MAX, depthMax: 16 });
  if (!isRecord(statement)) return refuse("malformed");
  if (statement["_type"] !== STATEMENT_TYPE || statement["predicateType"] !== SIGN_PREDICATE_TYPE)
    return refuse("wrong-type");
  const subjects = statement["subject"];
  if (!Array.isArray(subjects) || subjects.length > SUBJECTS_MAX) return refuse("malformed");
  return subjects.some((subject) => digestOfSubject(subject) === manifestDigest)
    ? { ok: true, keyids: verified.keyids }
    : refuse("digest-mismatch");
}

/** Sigstore leaves the key id empty or writes another scheme; null is its way of saying nothing. */
function withoutForeignKeyIds(envelope: unknown): unknown {
  if (!isRecord(envelope) || !Array.isArray(envelope["signatures"])) return envelope;
  const signatures = envelope["signatures"].map((one: unknown) => (isRecord(one) ? { sig: one["sig"] } : one));
  return { ...envelope, signatures };
}

function digestOfSubject(subject: unknown): string | undefined {
  const digest = isRecord(subject) ? subject["digest"] : undefined;
  const hex = isRecord(digest) ? digest["sha256"] : undefined;
  return typeof hex === "string" ? `sha256:${hex}` : undefined;
}

/** Go's encoder writes these characters as escapes inside JSON text. */
function escapeLikeGo(json: string): string {
  return json.replaceAll(/[<>&\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** `sha256-<hex>`, the name under which signatures of a digest lie in a registry, for the tag schemes. */
export function signatureTag(manifestDigest: string): string {
  return `${manifestDigest.replace(":", "-")}.sig`;
}

function refuse(problem: Exclude<ReleaseProblem, "release-unsigned" | "threshold-unmet">): VerifiedSignature {
  return { ok: false, problem };
}

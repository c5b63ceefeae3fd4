import type { Envelope } from "@muto/spec";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import type { PublicKey, Signer } from "./keys.ts";
import { isRecord } from "./strict-json.ts";

/**
 * Why an envelope was refused, in the words of the contract's verification evidence. A signature by a known key that does
 * not verify counts as none: what is missing then is a signature, `threshold-unmet`.
 */
export type EnvelopeProblem = "malformed" | "too-large" | "wrong-type" | "unknown-key" | "threshold-unmet";

export type VerifiedEnvelope =
  | { readonly ok: true; readonly payload: Uint8Array; readonly keyids: readonly string[] }
  | { readonly ok: false; readonly problem: EnvelopeProblem; readonly validSignatures: number };

export interface EnvelopePolicy {
  /** The one type that the reader expects here: an envelope of another type is refused whoever signed it. */
  readonly payloadType: string;
  readonly keys: readonly PublicKey[];
  /** How many different keys must have signed; at least 1. */
  readonly threshold: number;
  readonly payloadBytesMax?: number;
}

/** As much as the contract's envelope carries. */
const PAYLOAD_BYTES_MAX = 256 * 1024;
const SIGNATURES_MAX = 16;
const SIGNATURE_BYTES_MAX = 512;

/** The pre-authentication encoding of DSSE 1.0: both lengths and the type are part of what is signed. */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType, "utf8");
  const head = Buffer.from(`DSSEv1 ${type.byteLength} ${payloadType} ${payload.byteLength} `, "utf8");
  return new Uint8Array(Buffer.concat([head, payload]));
}

/** Signs exact bytes with every signer given. The bytes are what readers will get back; nobody parses and prints them again. */
export async function signEnvelope(
  payloadType: string,
  payload: Uint8Array,
  signers: readonly Signer[],
): Promise<Envelope> {
  const message = preAuthenticationEncoding(payloadType, payload);
  const signatures = await Promise.all(
    signers.map(async (signer) => ({
      keyid: signer.publicKey.keyid,
      sig: encodeBase64(await signer.sign(message)),
    })),
  );
  return { payloadType, payload: encodeBase64(payload), signatures };
}

/**
 * Verifies an envelope that came from anywhere and hands back the verified bytes, the only ones that may be parsed.
 * Counts different keys of the policy, however often one key signed or is listed. Guards against signature type
 * confusion (attack 19), duplicated signatures and endless input.
 */
export function verifyEnvelope(envelope: unknown, policy: EnvelopePolicy): VerifiedEnvelope {
  const read = readEnvelope(envelope, policy.payloadBytesMax ?? PAYLOAD_BYTES_MAX);
  if (typeof read === "string") return refuse(read);
  if (read.payloadType !== policy.payloadType) return refuse("wrong-type");

  const message = preAuthenticationEncoding(read.payloadType, read.payload);
  const valid = new Set<string>();
  let hinted = false;
  for (const { keyid, sig } of read.signatures) {
    const named = policy.keys.filter((key) => key.keyid === keyid);
    hinted ||= named.length > 0;
    for (const key of named.length > 0 ? named : policy.keys) {
      if (!valid.has(key.keyid) && key.verify(message, sig)) valid.add(key.keyid);
    }
  }
  if (valid.size > 0 && policy.threshold >= 1 && valid.size >= policy.threshold) {
    return { ok: true, payload: read.payload, keyids: [...valid].toSorted() };
  }
  const strangersOnly = valid.size === 0 && !hinted && read.signatures.length > 0;
  return refuse(strangersOnly ? "unknown-key" : "threshold-unmet", valid.size);
}

interface ReadEnvelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly { readonly keyid?: string; readonly sig: Uint8Array }[];
}

function readEnvelope(envelope: unknown, payloadBytesMax: number): ReadEnvelope | EnvelopeProblem {
  if (!isRecord(envelope)) return "malformed";
  const { payloadType, payload, signatures } = envelope;
  if (typeof payloadType !== "string" || typeof payload !== "string" || !Array.isArray(signatures)) return "malformed";
  if (payload.length > base64Length(payloadBytesMax)) return "too-large";
  if (signatures.length > SIGNATURES_MAX) return "too-large";
  const bytes = decodeBase64(payload);
  if (bytes === undefined) return "malformed";
  const read: ReadEnvelope["signatures"][number][] = [];
  for (const signature of signatures) {
    const one = readSignature(signature);
    if (one === undefined) return "malformed";
    read.push(one);
  }
  return { payloadType, payload: bytes, signatures: read };
}

function readSignature(signature: unknown): ReadEnvelope["signatures"][number] | undefined {
  if (!isRecord(signature)) return undefined;
  const { keyid, sig } = signature;
  if (typeof sig !== "string" || sig.length === 0 || sig.length > base64Length(SIGNATURE_BYTES_MAX)) return undefined;
  if (keyid !== undefined && typeof keyid !== "string") return undefined;
  const bytes = decodeBase64(sig);
  if (bytes === undefined) return undefined;
  return keyid === undefined ? { sig: bytes } : { keyid, sig: bytes };
}

function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4;
}

function refuse(problem: EnvelopeProblem, validSignatures = 0): VerifiedEnvelope {
  return { ok: false, problem, validSignatures };
}

import { MEDIA_TYPES, parseAssignment, parseEnrolment, parseJson, parseReconcileReport } from "@muto/spec";
import type { Assignment, Enrolment, Envelope, Parsed, ReconcileReport } from "@muto/spec";
import { decodeBase64 } from "./base64.ts";
import { signEnvelope, verifyEnvelope } from "./dsse.ts";
import type { EnvelopePolicy, EnvelopeProblem } from "./dsse.ts";
import { parsePublicKey } from "./keys.ts";
import type { PublicKey, Signer } from "./keys.ts";

/**
 * Our signed documents. A document is printed once, by its signer; from then on its exact bytes travel inside the envelope
 * and are only ever read. So there is no canonical form of JSON, and nothing is printed again to be verified.
 */
export type Opened<T> =
  | { readonly ok: true; readonly document: T; readonly payload: Uint8Array; readonly keyids: readonly string[] }
  | { readonly ok: false; readonly problem: EnvelopeProblem | "invalid-document" };

/** Signed by the control plane's online key. */
export function signAssignment(assignment: Assignment, signers: readonly Signer[]): Promise<Envelope> {
  return signEnvelope(MEDIA_TYPES.assignment, encode(assignment), signers);
}

export function openAssignment(envelope: unknown, policy: Omit<EnvelopePolicy, "payloadType">): Opened<Assignment> {
  return open(envelope, { ...policy, payloadType: MEDIA_TYPES.assignment }, parseAssignment);
}

/** Signed by the vehicle's own key, on every channel, so that no broker can forge or replay success (H18). */
export function signReconcileReport(report: ReconcileReport, signer: Signer): Promise<Envelope> {
  return signEnvelope(MEDIA_TYPES.reconcileReport, encode(report), [signer]);
}

/** `key` is the one registered for the vehicle that the report came from; that the payload names it too is the caller's check. */
export function openReconcileReport(envelope: unknown, key: PublicKey): Opened<ReconcileReport> {
  const policy = { payloadType: MEDIA_TYPES.reconcileReport, keys: [key], threshold: 1 };
  return open(envelope, policy, parseReconcileReport);
}

export function signEnrolment(enrolment: Enrolment, signer: Signer): Promise<Envelope> {
  return signEnvelope(MEDIA_TYPES.enrolment, encode(enrolment), [signer]);
}

/**
 * Opens a request to be known by a key, signed with that very key: it proves possession and nothing else. The key is read
 * from the bytes first, then the same bytes are verified with it, and only those are handed out.
 */
export function openEnrolment(
  envelope: unknown,
): (Opened<Enrolment> & { readonly ok: false }) | (Opened<Enrolment> & { readonly ok: true; readonly key: PublicKey }) {
  const named = keyNamedIn(envelope);
  if (named === undefined) return { ok: false, problem: "malformed" };
  const opened = open(envelope, { payloadType: MEDIA_TYPES.enrolment, keys: [named], threshold: 1 }, parseEnrolment);
  return opened.ok ? { ...opened, key: named } : opened;
}

/** Opens any of our documents: envelope, type, signatures, and only then the payload, by the contract's parser. */
function open<T>(envelope: unknown, policy: EnvelopePolicy, parse: (value: unknown) => Parsed<T>): Opened<T> {
  const verified = verifyEnvelope(envelope, policy);
  if (!verified.ok) return { ok: false, problem: verified.problem };
  const json = parseJson(verified.payload);
  const parsed = json.ok ? parse(json.value) : json;
  if (!parsed.ok) return { ok: false, problem: "invalid-document" };
  return { ok: true, document: parsed.value, payload: verified.payload, keyids: verified.keyids };
}

function keyNamedIn(envelope: unknown): PublicKey | undefined {
  const payload =
    typeof envelope === "object" && envelope !== null && "payload" in envelope ? envelope.payload : undefined;
  const bytes = typeof payload === "string" ? decodeBase64(payload) : undefined;
  const json = bytes === undefined ? undefined : parseJson(bytes);
  const parsed = json?.ok === true ? parseEnrolment(json.value) : undefined;
  const key = parsed?.ok === true ? parsePublicKey(parsed.value.publicKey) : undefined;
  return key?.ok === true ? key.key : undefined;
}

function encode(document: Assignment | ReconcileReport | Enrolment): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(document), "utf8"));
}

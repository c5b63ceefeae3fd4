import { decodeBase64Url, encodeBase64Url } from "./base64.ts";
import type { PublicKey, Signer } from "./keys.ts";
import { isRecord, parseStrictJson } from "./strict-json.ts";

/**
 * Short-lived proof that a vehicle holds its registered key: a JSON Web Token (EdDSA) made by the vehicle itself, for one
 * tenant, good for minutes. The key does not expire, so a vehicle that was away for any time simply makes a new one.
 */
export const VEHICLE_TOKEN_LIFE_SEC_MAX = 600;

/**
 * How far the vehicle's clock and ours may differ, either way. A vehicle whose clock is further off takes the time of its next
 * token, and nothing else, from the `Date` header of the answer that refused it: see {@link tokenTimeMs}.
 */
export const CLOCK_TOLERANCE_SEC = 300;

const TOKEN_CHARACTERS_MAX = 2048;
const BOUNDS = { bytesMax: 1024, depthMax: 3 };
const TYPE = "muto-vehicle+jwt";
const ALGORITHM = "EdDSA";

export type TokenProblem =
  | "malformed"
  /** Not a vehicle token: another type or algorithm. */
  | "wrong-type"
  | "bad-signature"
  | "wrong-vehicle"
  | "wrong-audience"
  | "expired"
  | "not-yet-valid"
  /** Made to live longer than the limit. */
  | "life-too-long";

export type VerifiedToken =
  | { readonly ok: true; readonly vehicleId: string; readonly expiresAtMs: number }
  | { readonly ok: false; readonly problem: TokenProblem };

export async function createVehicleToken(
  signer: Signer,
  claims: { readonly vehicleId: string; readonly tenant: string; readonly nowMs: number; readonly lifeSec?: number },
): Promise<string> {
  if (signer.publicKey.algorithm !== "ed25519") throw new Error("vehicle tokens are signed with Ed25519");
  const issuedAtSec = Math.floor(claims.nowMs / 1000);
  const lifeSec = Math.min(claims.lifeSec ?? VEHICLE_TOKEN_LIFE_SEC_MAX, VEHICLE_TOKEN_LIFE_SEC_MAX);
  const header = { alg: ALGORITHM, typ: TYPE, kid: signer.publicKey.keyid };
  const body = { sub: claims.vehicleId, aud: claims.tenant, iat: issuedAtSec, exp: issuedAtSec + lifeSec };
  const message = `${encodeJson(header)}.${encodeJson(body)}`;
  return `${message}.${encodeBase64Url(await signer.sign(Buffer.from(message, "utf8")))}`;
}

/** Who a token says it is from, believed for one thing only: to look up which key to verify it with. */
export function tokenSubject(
  token: string,
): { readonly vehicleId: string; readonly keyid: string | undefined } | undefined {
  const read = readToken(token);
  return read === undefined ? undefined : { vehicleId: read.vehicleId, keyid: read.keyid };
}

/** `key` is the one registered for `vehicleId` now; `nowMs` is our own clock. */
export function verifyVehicleToken(
  token: string,
  expected: { readonly key: PublicKey; readonly vehicleId: string; readonly tenant: string; readonly nowMs: number },
): VerifiedToken {
  const read = readToken(token);
  if (read === undefined) return refuse("malformed");
  if (!read.isVehicleToken || expected.key.algorithm !== "ed25519") return refuse("wrong-type");
  if (!expected.key.verify(read.message, read.signature)) return refuse("bad-signature");
  if (read.vehicleId !== expected.vehicleId) return refuse("wrong-vehicle");
  if (read.audience !== expected.tenant) return refuse("wrong-audience");
  const nowSec = expected.nowMs / 1000;
  if (read.expiresAtSec - read.issuedAtSec > VEHICLE_TOKEN_LIFE_SEC_MAX) return refuse("life-too-long");
  if (read.issuedAtSec > nowSec + CLOCK_TOLERANCE_SEC) return refuse("not-yet-valid");
  if (read.expiresAtSec <= nowSec - CLOCK_TOLERANCE_SEC) return refuse("expired");
  return { ok: true, vehicleId: read.vehicleId, expiresAtMs: read.expiresAtSec * 1000 };
}

/**
 * The time to put into the next token: the vehicle's own, corrected by how much the control plane's `Date` differed when both
 * were last seen together. Only tokens use it; windows, expiry and trusted time never do (H20).
 */
export function tokenTimeMs(
  wallMs: number,
  contact: { readonly serverDateMs: number; readonly wallMs: number } | undefined,
): number {
  return contact === undefined ? wallMs : wallMs + (contact.serverDateMs - contact.wallMs);
}

interface ReadToken {
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly isVehicleToken: boolean;
  readonly keyid: string | undefined;
  readonly vehicleId: string;
  readonly audience: string;
  readonly issuedAtSec: number;
  readonly expiresAtSec: number;
}

function readToken(token: string): ReadToken | undefined {
  if (token.length > TOKEN_CHARACTERS_MAX) return undefined;
  const [head = "", body = "", tail, ...rest] = token.split(".");
  if (tail === undefined || rest.length > 0) return undefined;
  const signature = decodeBase64Url(tail);
  const header = decodeJson(head);
  const claims = decodeJson(body);
  if (signature === undefined || !isRecord(header) || !isRecord(claims)) return undefined;
  const { sub, aud, iat, exp } = claims;
  if (typeof sub !== "string" || typeof aud !== "string" || !Number.isSafeInteger(iat) || !Number.isSafeInteger(exp)) {
    return undefined;
  }
  if (typeof iat !== "number" || typeof exp !== "number" || iat < 0 || exp < iat) return undefined;
  return {
    message: Buffer.from(`${head}.${body}`, "utf8"),
    signature,
    // `crit` demands that a reader understands extensions; we know none.
    isVehicleToken: header["alg"] === ALGORITHM && header["typ"] === TYPE && header["crit"] === undefined,
    keyid: typeof header["kid"] === "string" ? header["kid"] : undefined,
    vehicleId: sub,
    audience: aud,
    issuedAtSec: iat,
    expiresAtSec: exp,
  };
}

function decodeJson(text: string): unknown {
  const bytes = decodeBase64Url(text);
  return bytes === undefined ? undefined : parseStrictJson(bytes, BOUNDS);
}

function encodeJson(value: unknown): string {
  return encodeBase64Url(Buffer.from(JSON.stringify(value), "utf8"));
}

function refuse(problem: TokenProblem): VerifiedToken {
  return { ok: false, problem };
}

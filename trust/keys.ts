import { createHash, createPrivateKey, createPublicKey, generateKeyPair, sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { promisify } from "node:util";

/**
 * Ed25519 signs our own documents; ECDSA P-256 with SHA-256 is accepted because cosign makes such keys. The encoding of
 * a signature is fixed by the kind of key and never guessed: 64 raw bytes for Ed25519, DER for P-256 (as cosign writes it).
 */
export type KeyAlgorithm = "ed25519" | "ecdsa-p256";

export interface PublicKey {
  /** SHA-256 over the DER encoding of the key (SPKI), 64 hex digits. Always computed from the key, never believed. */
  readonly keyid: string;
  readonly algorithm: KeyAlgorithm;
  /** SPKI in PEM. */
  readonly pem: string;
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

/** Something that can sign: a private key in memory here, possibly a key service elsewhere, hence the promise. */
export interface Signer {
  readonly publicKey: PublicKey;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

export type KeyProblem =
  | "too-large"
  | "not-public-key-pem"
  | "not-private-key-pem"
  | "encrypted"
  | "malformed"
  | "algorithm-unsupported";

export type ParsedPublicKey = { readonly ok: true; readonly key: PublicKey } | KeyRefusal;
export type ParsedSigner = { readonly ok: true; readonly signer: Signer } | KeyRefusal;
export interface KeyRefusal {
  readonly ok: false;
  readonly problem: KeyProblem;
}

const PEM_CHARACTERS_MAX = 4096;

/**
 * Reads one `PUBLIC KEY` block (SPKI). Certificates and private keys, from which a public key could be drawn, are refused:
 * whoever hands out a private key by mistake should hear of it.
 */
export function parsePublicKey(pem: string): ParsedPublicKey {
  const text = pem.trim();
  if (text.length > PEM_CHARACTERS_MAX) return refuse("too-large");
  if (!isOneBlock(text, "PUBLIC KEY")) return refuse("not-public-key-pem");
  const key = attempt(() => createPublicKey({ key: text, format: "pem", type: "spki" }));
  if (key === undefined) return refuse("malformed");
  const algorithm = algorithmOf(key);
  return algorithm === undefined ? refuse("algorithm-unsupported") : { ok: true, key: publicKeyOf(key, algorithm) };
}

/** Reads one unencrypted `PRIVATE KEY` block (PKCS #8). */
export function parsePrivateKey(pem: string): ParsedSigner {
  const text = pem.trim();
  if (text.length > PEM_CHARACTERS_MAX) return refuse("too-large");
  if (/^-----BEGIN ENCRYPTED [A-Z ]*PRIVATE KEY-----/.test(text)) return refuse("encrypted");
  if (!isOneBlock(text, "PRIVATE KEY")) return refuse("not-private-key-pem");
  const key = attempt(() => createPrivateKey({ key: text, format: "pem", type: "pkcs8" }));
  if (key === undefined) return refuse("malformed");
  const algorithm = algorithmOf(key);
  return algorithm === undefined ? refuse("algorithm-unsupported") : { ok: true, signer: signerOf(key, algorithm) };
}

export interface GeneratedKey {
  readonly signer: Signer;
  /** PKCS #8 in PEM, unencrypted: write it with permissions 0600 and nowhere else. */
  readonly privatePem: string;
}

/** Makes a key pair from the operating system's own randomness. */
export async function generateKey(algorithm: KeyAlgorithm): Promise<GeneratedKey> {
  const { privateKey } = await newPair(algorithm);
  return {
    signer: signerOf(privateKey, algorithm),
    privatePem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** The DER that stands before the 32 bytes of an Ed25519 private key, in the one encoding that such keys have. */
const ED25519_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/**
 * The Ed25519 key that belongs to 32 given bytes: whoever knows the bytes has the key. For simulations that must run the same
 * way twice, and for public test vectors; keys that protect something come from {@link generateKey}.
 */
export function keyFromSeed(seed: Uint8Array): GeneratedKey {
  if (seed.byteLength !== 32) throw new RangeError("a seed has 32 bytes");
  const key = createPrivateKey({ key: Buffer.concat([ED25519_PREFIX, seed]), format: "der", type: "pkcs8" });
  return { signer: signerOf(key, "ed25519"), privatePem: key.export({ format: "pem", type: "pkcs8" }).toString() };
}

const pairOfKeys = promisify(generateKeyPair);

function newPair(algorithm: KeyAlgorithm): Promise<{ privateKey: KeyObject }> {
  switch (algorithm) {
    case "ed25519":
      return pairOfKeys("ed25519");
    case "ecdsa-p256":
      return pairOfKeys("ec", { namedCurve: "P-256" });
  }
}

function publicKeyOf(key: KeyObject, algorithm: KeyAlgorithm): PublicKey {
  return {
    keyid: createHash("sha256")
      .update(key.export({ format: "der", type: "spki" }))
      .digest("hex"),
    algorithm,
    pem: key.export({ format: "pem", type: "spki" }).toString(),
    verify: (message, signature) =>
      attempt(() => verify(hashOf(algorithm), message, { key, dsaEncoding: "der" }, signature)) === true,
  };
}

function signerOf(key: KeyObject, algorithm: KeyAlgorithm): Signer {
  return {
    publicKey: publicKeyOf(createPublicKey(key), algorithm),
    sign: async (message) => new Uint8Array(sign(hashOf(algorithm), message, { key, dsaEncoding: "der" })),
  };
}

/** Ed25519 hashes inside the algorithm itself; naming a hash for it makes Node.js throw. */
function hashOf(algorithm: KeyAlgorithm): "sha256" | null {
  switch (algorithm) {
    case "ed25519":
      return null;
    case "ecdsa-p256":
      return "sha256";
  }
}

function algorithmOf(key: KeyObject): KeyAlgorithm | undefined {
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  if (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1") return "ecdsa-p256";
  return undefined;
}

function isOneBlock(text: string, label: string): boolean {
  return new RegExp(`^-----BEGIN ${label}-----\\s[A-Za-z0-9+/=\\s]+-----END ${label}-----$`).test(text);
}

/** What OpenSSL refuses to read or to verify is refused by us; its words depend on its version and are not for others. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function refuse(problem: KeyProblem): KeyRefusal {
  return { ok: false, problem };
}

import type { Random } from "@muto/kit/random";
import { parsePrivateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";

/** What stands before the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7). */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/** A key that the seed decides, so that the same seed signs the same history. Worthless as a secret. */
export function seededSigner(random: Random): Signer {
  const der = Buffer.concat([PKCS8_ED25519, random.bytes(32)]);
  const parsed = parsePrivateKey(`-----BEGIN PRIVATE KEY-----\n${der.toString("base64")}\n-----END PRIVATE KEY-----\n`);
  if (!parsed.ok) throw new Error(`a seeded key cannot be used: ${parsed.problem}`);
  return parsed.signer;
}

import { createHash } from "node:crypto";
import type { Random } from "@muto/kit/random";
import { preAuthenticationEncoding } from "@muto/trust/dsse";
import type { Signer } from "@muto/trust/keys";
import { encodeBase64Url } from "@muto/trust/base64";

const PREFIX = "mct_";
const TOKEN_BYTES = 32;
/** Bound into what is signed, so that this signature can never be taken for one over a document. */
const SEED_TYPE = "application/vnd.muto.claim-seed.v1+json";

export function newClaimToken(random: Random): string {
  return `${PREFIX}${encodeBase64Url(random.bytes(TOKEN_BYTES))}`;
}

/**
 * The same token for the same request, so that an operator who repeats it after a lost answer gets his claim although only
 * its hash is stored. Nobody without the online key can compute it, and an Ed25519 signature is the same every time.
 */
export async function repeatableClaimToken(
  signer: Signer,
  request: { readonly vehicleId: string; readonly principal: string; readonly idempotencyKey: string },
): Promise<string> {
  const { vehicleId, principal, idempotencyKey } = request;
  const seed = Buffer.from(JSON.stringify({ vehicleId, principal, idempotencyKey }), "utf8");
  const signature = await signer.sign(preAuthenticationEncoding(SEED_TYPE, seed));
  return `${PREFIX}${encodeBase64Url(createHash("sha256").update(signature).digest())}`;
}

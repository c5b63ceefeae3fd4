import { MEDIA_TYPES } from "@muto/spec";
import type { Assignment, AssignmentOffer } from "@muto/spec";
import { signEnvelope } from "@muto/trust/dsse";
import type { Signer } from "@muto/trust/keys";
import type { LatestAssignment } from "../store/latest.ts";

/** Prints the document of an assignment. Only ever once for each: what was handed out is kept and signed again as it is. */
export function payloadOf(row: LatestAssignment, tenant: string): string {
  const assignment: Assignment = {
    kind: "muto.assignment/v1",
    tenant,
    vehicleId: row.vehicle_id,
    sequence: row.sequence,
    desiredStateRevision: row.revision,
    ...(row.rollout_id === null ? {} : { rolloutId: row.rollout_id }),
    issuedAt: row.issued_at,
    acceptBefore: row.accept_before,
    startBefore: row.start_before,
    start: row.start,
    retry: row.retry,
    stack: { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest },
    repository: row.repository,
    policy: row.policy,
    correlationId: row.correlation_id,
  };
  return JSON.stringify(assignment);
}

/**
 * Signs the kept document. Ed25519 is deterministic, so every poll, at every replica and in every version, gets the same
 * bytes, and the signature need not be stored.
 */
export async function offerOf(
  payload: string,
  { signatures }: Pick<LatestAssignment, "signatures">,
  signer: Signer,
): Promise<AssignmentOffer> {
  const envelope = await signEnvelope(MEDIA_TYPES.assignment, Buffer.from(payload, "utf8"), [signer]);
  return { envelope, releaseSignatures: signatures };
}

/** Names the answer to a poll: it changes with the assignment and with the key that signs it, and with nothing else. */
export function offerTag(sequence: number, signer: Signer): string {
  return `"${sequence}-${signer.publicKey.keyid.slice(0, 16)}"`;
}

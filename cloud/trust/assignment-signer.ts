import type { Assignment, AssignmentOffer } from "@muto/spec";
import { signAssignment } from "@muto/trust/documents";
import type { Signer } from "@muto/trust/keys";
import type { LatestAssignment } from "../store/latest.ts";

/**
 * Makes the signed bytes of an assignment from its row. The row never changes in what is signed and Ed25519 is
 * deterministic, so every poll, at every replica, gets the same bytes, and none need be stored.
 */
export async function offerOf(
  row: LatestAssignment,
  authority: { readonly tenant: string; readonly signer: Signer },
): Promise<AssignmentOffer> {
  const assignment: Assignment = {
    kind: "muto.assignment/v1",
    tenant: authority.tenant,
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
  return { envelope: await signAssignment(assignment, [authority.signer]), releaseSignatures: row.signatures };
}

/** Names the answer to a poll: it changes with the assignment and with the key that signs it, and with nothing else. */
export function offerTag(sequence: number, signer: Signer): string {
  return `"${sequence}-${signer.publicKey.keyid.slice(0, 16)}"`;
}

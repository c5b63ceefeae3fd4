import { createHash } from "node:crypto";
import type { AssignmentOffer } from "@muto/spec";
import type { TrustRoots } from "@muto/trust/roots";
import { payloadHash, verifyAssignment } from "@muto/trust/verify-assignment";
import type { OfferVerdict, OfferVerifier } from "./services.ts";

/** The vehicle's own trust applied to whatever is offered to it, by the cloud or from its own memory. */
export function createOfferVerifier(roots: TrustRoots, vehicleId: string): OfferVerifier {
  return {
    trustHash: roots.hash,
    hashOf: (offer) => createHash("sha256").update(JSON.stringify(offer)).digest("hex"),
    payloadHashOf: hashOfPayload,
    verify: (offer, { sequence, accepted, nowMs }): OfferVerdict => {
      const acceptedHash = accepted === null ? undefined : hashOfPayload(accepted);
      const verified = verifyAssignment(offer, { roots, vehicleId, sequenceFloor: sequence, acceptedHash, nowMs });
      if (!verified.ok) return { ...verified, evidence: [verified.evidence] };
      const { assignment, release } = verified;
      if (release.ok) return { ok: true, assignment, release: { ok: true } };
      return { ok: true, assignment, release: { ...release, evidence: [release.evidence] } };
    },
  };
}

function hashOfPayload({ envelope }: AssignmentOffer): string {
  return payloadHash(Buffer.from(envelope.payload, "base64"));
}

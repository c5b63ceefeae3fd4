import { digestOf } from "@muto/oci/digest";
import { parseAssignment, type Assignment, type AssignmentOffer } from "@muto/spec";
import type { OfferVerifier } from "../services.ts";

/** Offers whose payload is the assignment itself; a payload that is none is a forgery. Signatures are another test's business. */
export function modelOffer(assignment: Assignment): AssignmentOffer {
  const payload = Buffer.from(JSON.stringify(assignment)).toString("base64");
  const signature = { keyid: "0".repeat(64), sig: "AA==" };
  const payloadType = "application/vnd.muto.assignment.v1+json";
  return { envelope: { payloadType, payload, signatures: [signature] }, releaseSignatures: [] };
}

export function modelVerifier(vehicleId: string): OfferVerifier {
  const hashOf = (offer: AssignmentOffer) => digestOf(Buffer.from(offer.envelope.payload));
  return {
    trustHash: "trust",
    hashOf,
    payloadHashOf: hashOf,
    verify: (offer, known) => {
      const parsed = parseAssignment(JSON.parse(Buffer.from(offer.envelope.payload, "base64").toString()));
      const nobody = { sequence: null, desiredStateRevision: null };
      if (!parsed.ok) {
        const reasonCode = "VERIFY_SIGNATURE_FAILED";
        return {
          ok: false,
          reasonCode,
          evidence: [{ kind: "verification", reasonCode, problem: "malformed" }],
          ...nobody,
        };
      }
      const assignment = parsed.value;
      const { sequence, desiredStateRevision } = assignment;
      const isKnown = known.accepted !== null && hashOf(known.accepted) === hashOf(offer);
      const problem =
        assignment.vehicleId !== vehicleId
          ? "wrong-vehicle"
          : sequence < known.sequence || (sequence === known.sequence && !isKnown)
            ? "sequence-too-old"
            : Date.parse(assignment.acceptBefore) <= known.nowMs(Date.parse(assignment.issuedAt))
              ? "expired"
              : undefined;
      if (problem === undefined) return { ok: true, assignment, release: { ok: true } };
      const reasonCode = "DESIRED_STATE_REJECTED";
      return {
        ok: false,
        reasonCode,
        evidence: [{ kind: "verification", reasonCode, problem }],
        sequence,
        desiredStateRevision,
      };
    },
  };
}

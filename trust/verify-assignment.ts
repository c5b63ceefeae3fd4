import { createHash } from "node:crypto";
import type { Assignment, ReleaseSignature, VerificationEvidence } from "@muto/spec";
import { verifyRelease } from "./cosign.ts";
import { openAssignment } from "./documents.ts";
import type { TrustRoots } from "./roots.ts";

/** What the vehicle knows of itself and of what it has accepted before; all plain values, so that anything can drive it. */
export interface AssignmentChecks {
  readonly roots: TrustRoots;
  readonly vehicleId: string;
  /** Highest sequence that was ever accepted; 0 before the first. Persisted before it is acted on, and never falls. */
  readonly sequenceFloor: number;
  /** {@link payloadHash} of what was accepted under that sequence; undefined when it is not known any more. */
  readonly acceptedHash: string | undefined;
  /** The time by which expiry is judged, once `issuedAt` of a document that verified is known. */
  readonly nowMs: (issuedAtMs: number) => number;
}

/** An assignment as it is offered: by the cloud, from the cache, from a stick. All go through the same checks. */
export interface Offer {
  readonly envelope: unknown;
  readonly releaseSignatures: readonly ReleaseSignature[];
}

export type VerifiedAssignment =
  | {
      readonly ok: true;
      readonly assignment: Assignment;
      readonly payloadHash: string;
      /** Ids of the assignment keys whose signatures hold. */
      readonly keyids: readonly string[];
      /** Whether trusted release keys signed the digest. Nothing of the release may be fetched, staged or run unless they did. */
      readonly release: ReleaseCheck;
    }
  | AssignmentRefusal;

export type ReleaseCheck =
  | { readonly ok: true; readonly keyids: readonly string[] }
  | { readonly ok: false; readonly reasonCode: "VERIFY_SIGNATURE_FAILED"; readonly evidence: VerificationEvidence };

export interface AssignmentRefusal {
  readonly ok: false;
  readonly reasonCode: "VERIFY_SIGNATURE_FAILED" | "DESIRED_STATE_REJECTED";
  readonly evidence: VerificationEvidence;
  /** Named by a document that verified; null when nothing did. */
  readonly sequence: number | null;
  readonly desiredStateRevision: string | null;
}

/**
 * Decides whether a vehicle accepts an assignment. The order is fixed; the first thing that does not hold is the answer:
 *
 * 1. envelope, payload type and signatures of the assignment role (key theft below the threshold, type confusion)
 * 2. the verified bytes are an assignment this reader knows
 * 3. tenant, then vehicle (wrong vehicle: another one's document replayed)
 * 4. sequence not below the floor (rollback), and under the floor's own number only the same bytes (mix and match)
 * 5. `acceptBefore`, only for what was not accepted already (freeze: an old document offered for the first time)
 * 6. release signatures over the digest, by the release role (arbitrary software with one stolen key)
 *
 * A failure at 6 leaves the assignment authentic: it is what the cloud wants, and nothing of it may run. A stolen online
 * key that jumps the sequence far ahead (fast-forward) is undone by roots that replace the key: whoever keeps the floor resets it
 * when the keys that signed what raised it are trusted no more.
 */
export function verifyAssignment(offer: Offer, checks: AssignmentChecks): VerifiedAssignment {
  const { roots, vehicleId, sequenceFloor } = checks;
  const opened = openAssignment(offer.envelope, roots.role("assignment"));
  if (!opened.ok)
    return opened.problem === "invalid-document" ? rejected("malformed", null) : untrusted(opened.problem);

  const assignment = opened.document;
  if (assignment.tenant !== roots.tenant) return rejected("wrong-tenant", assignment);
  if (assignment.vehicleId !== vehicleId) return rejected("wrong-vehicle", assignment);

  const hash = payloadHash(opened.payload);
  const isKnown = assignment.sequence === sequenceFloor && hash === checks.acceptedHash;
  if (assignment.sequence < sequenceFloor) return rejected("sequence-too-old", assignment, sequenceFloor);
  if (assignment.sequence === sequenceFloor && !isKnown && checks.acceptedHash !== undefined) {
    return rejected("sequence-conflict", assignment, sequenceFloor);
  }

  const issuedAtMs = Date.parse(assignment.issuedAt);
  const acceptBeforeMs = Date.parse(assignment.acceptBefore);
  if (Number.isNaN(issuedAtMs) || Number.isNaN(acceptBeforeMs)) return rejected("malformed", assignment);
  if (!isKnown && checks.nowMs(issuedAtMs) >= acceptBeforeMs) return rejected("expired", assignment);

  const release = checkRelease(offer.releaseSignatures, assignment.stack.manifestDigest, roots);
  return { ok: true, assignment, payloadHash: hash, keyids: opened.keyids, release };
}

/** Whether the release role signed a manifest digest; also for what was accepted in an earlier life, under today's roots. */
export function checkRelease(
  signatures: readonly ReleaseSignature[],
  manifestDigest: string,
  roots: TrustRoots,
): ReleaseCheck {
  const verified = verifyRelease(signatures, manifestDigest, roots.role("release"));
  if (verified.ok) return verified;
  const { problem } = verified;
  const reasonCode = "VERIFY_SIGNATURE_FAILED";
  return { ok: false, reasonCode, evidence: { kind: "verification", reasonCode, problem, digest: manifestDigest } };
}

/** SHA-256 in hex over the exact bytes that were signed: two documents of one sequence are the same only when this is. */
export function payloadHash(payload: Uint8Array): string {
  return createHash("sha256").update(payload).digest("hex");
}

function untrusted(problem: VerificationEvidence["problem"]): AssignmentRefusal {
  const reasonCode = "VERIFY_SIGNATURE_FAILED";
  const evidence = { kind: "verification", reasonCode, problem } as const;
  return { ok: false, reasonCode, evidence, sequence: null, desiredStateRevision: null };
}

function rejected(
  problem: VerificationEvidence["problem"],
  assignment: Assignment | null,
  floor?: number,
): AssignmentRefusal {
  const reasonCode = "DESIRED_STATE_REJECTED";
  const sequence = assignment?.sequence ?? null;
  const evidence: VerificationEvidence = {
    kind: "verification",
    reasonCode,
    problem,
    ...(assignment === null ? {} : { digest: assignment.stack.manifestDigest, sequence: assignment.sequence }),
    ...(floor === undefined ? {} : { floor }),
  };
  return { ok: false, reasonCode, evidence, sequence, desiredStateRevision: assignment?.desiredStateRevision ?? null };
}

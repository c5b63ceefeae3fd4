import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { MEDIA_TYPES } from "@muto/spec";
import type { Assignment, Envelope, ReleaseSignature, TrustFile, VerificationEvidence } from "@muto/spec";
import { signRelease } from "./cosign.ts";
import { signAssignment } from "./documents.ts";
import { signEnvelope } from "./dsse.ts";
import { keyFromSeed } from "./keys.ts";
import type { Signer } from "./keys.ts";
import { payloadHash } from "./verify-assignment.ts";

/** Where the vectors lie, for whoever runs or writes them. */
export const SIGNED_ASSIGNMENTS = new URL("../spec/vectors/signed/assignments.json", import.meta.url);

/** One offer to one vehicle, with all it knows, and the answer that every implementation has to give. */
export interface AssignmentVector {
  readonly name: string;
  readonly vehicleId: string;
  readonly now: string;
  readonly sequenceFloor: number;
  /** SHA-256 in hex of the payload accepted under the floor's number; null when it is not known. */
  readonly acceptedPayloadSha256: string | null;
  readonly envelope: unknown;
  readonly releaseSignatures: readonly ReleaseSignature[];
  readonly expected:
    | { readonly accepted: true; readonly release: "signed" | VerificationEvidence["problem"] }
    | { readonly accepted: false; readonly reasonCode: string; readonly problem: VerificationEvidence["problem"] };
}

export interface AssignmentVectors {
  readonly trustFile: TrustFile;
  readonly cases: readonly AssignmentVector[];
}

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER_DIGEST = `sha256:${"b".repeat(64)}`;

/**
 * Makes the vectors anew: the same bytes each time, because the keys are drawn from their names and Ed25519 signs without
 * chance. These keys protect nothing; they are as public as this file.
 */
export async function makeAssignmentVectors(): Promise<AssignmentVectors> {
  const [online, release, attacker] = [signerNamed("online"), signerNamed("release"), signerNamed("attacker")];
  const good = await signAssignment(assignmentOf(), [online]);
  const released = await signed(release, DIGEST);
  const cast = {
    online,
    release,
    attacker,
    good,
    released,
    accepted: payloadHash(Buffer.from(good.payload, "base64")),
  };
  const roles = { release: roleOf(release), assignment: roleOf(online) };
  return {
    trustFile: { kind: "muto.trust/v1", tenant: "acme", roles },
    cases: [...(await accepted(cast)), ...(await untrusted(cast)), ...(await rejected(cast))],
  };
}

interface Cast {
  readonly online: Signer;
  readonly release: Signer;
  readonly attacker: Signer;
  readonly good: Envelope;
  readonly released: ReleaseSignature;
  /** Hash of the good payload. */
  readonly accepted: string;
}

const OTHER_STACK = { stack: { name: "autonomy-core", version: "0.9.0", manifestDigest: OTHER_DIGEST } };

async function accepted(cast: Cast): Promise<readonly AssignmentVector[]> {
  const { online, release } = cast;
  const make = (name: string, outcome: "signed" | VerificationEvidence["problem"], given: Partial<AssignmentVector>) =>
    caseOf(cast, name, { accepted: true, release: outcome }, given);
  const again = { now: "2028-01-01T00:00:00.000Z", sequenceFloor: 7, acceptedPayloadSha256: cast.accepted };
  return [
    make("accepted", "signed", {}),
    make("the last moment to accept", "signed", { now: "2026-12-23T21:59:59.999Z" }),
    make("accepted again long after, because it was accepted before", "signed", again),
    make("release not signed", "release-unsigned", { releaseSignatures: [] }),
    make("release signed with the online key", "unknown-key", { releaseSignatures: [await signed(online, DIGEST)] }),
    make("signature of another release", "digest-mismatch", {
      releaseSignatures: [await signed(release, OTHER_DIGEST)],
    }),
  ];
}

async function untrusted(cast: Cast): Promise<readonly AssignmentVector[]> {
  const { online, release, attacker, good } = cast;
  const make = (name: string, problem: VerificationEvidence["problem"], envelope: unknown) =>
    caseOf(cast, name, { accepted: false, reasonCode: "VERIFY_SIGNATURE_FAILED", problem }, { envelope });
  const exchanged = await signAssignment(assignmentOf(OTHER_STACK), [online]);
  const bytes = Buffer.from(good.payload, "base64");
  return [
    make("assignment signed by a stranger", "unknown-key", await signAssignment(assignmentOf(), [attacker])),
    make("assignment signed with the release key", "unknown-key", await signAssignment(assignmentOf(), [release])),
    make("signatures stripped", "threshold-unmet", { ...good, signatures: [] }),
    make("payload exchanged", "threshold-unmet", { ...good, payload: exchanged.payload }),
    make("payload cut", "malformed", { ...good, payload: good.payload.slice(0, -5) }),
    make(
      "another type, rightly signed",
      "wrong-type",
      await signEnvelope(MEDIA_TYPES.reconcileReport, bytes, [online]),
    ),
    make("not an envelope", "malformed", "assignment"),
  ];
}

async function rejected(cast: Cast): Promise<readonly AssignmentVector[]> {
  const { online, good } = cast;
  const make = (name: string, problem: VerificationEvidence["problem"], given: Partial<AssignmentVector>) =>
    caseOf(cast, name, { accepted: false, reasonCode: "DESIRED_STATE_REJECTED", problem }, given);
  const offer = async (extra: Partial<Assignment>) => ({
    envelope: await signAssignment(assignmentOf(extra), [online]),
  });
  const future = await signEnvelope(good.payloadType, Buffer.from('{"kind":"muto.assignment/v2"}'), [online]);
  const known = { sequenceFloor: 7, acceptedPayloadSha256: cast.accepted };
  return [
    make("a kind from the future", "malformed", { envelope: future }),
    make("another tenant", "wrong-tenant", await offer({ tenant: "other" })),
    make("another vehicle", "wrong-vehicle", await offer({ vehicleId: "vehicle-2" })),
    make("sequence below the floor", "sequence-too-old", { sequenceFloor: 8 }),
    make("same sequence, other content", "sequence-conflict", { ...(await offer(OTHER_STACK)), ...known }),
    make("too late to accept", "expired", { now: "2026-12-23T22:00:00.000Z" }),
  ];
}

function caseOf(
  { good, released }: Cast,
  name: string,
  expected: AssignmentVector["expected"],
  given: Partial<AssignmentVector>,
): AssignmentVector {
  return {
    name,
    vehicleId: "vehicle-1",
    now: "2026-11-24T22:00:00.000Z",
    sequenceFloor: 6,
    acceptedPayloadSha256: null,
    envelope: good,
    releaseSignatures: [released],
    expected,
    ...given,
  };
}

function signed(signer: Signer, manifestDigest: string): Promise<ReleaseSignature> {
  return signRelease(signer, { dockerReference: "registry.example/stacks/autonomy-core", manifestDigest });
}

function roleOf({ publicKey: { keyid, algorithm, pem } }: Signer) {
  return { threshold: 1, keys: [{ keyid, algorithm, publicKey: pem }] };
}

function signerNamed(name: string): Signer {
  return keyFromSeed(createHash("sha256").update(`muto vector key: ${name}`).digest()).signer;
}

function assignmentOf(extra: Partial<Assignment> = {}): Assignment {
  return {
    kind: "muto.assignment/v1",
    tenant: "acme",
    vehicleId: "vehicle-1",
    sequence: 7,
    desiredStateRevision: "dsr_01JDQ8Z3V4W5X6Y7Z8A9B0C1D2",
    issuedAt: "2026-11-23T22:00:00.000Z",
    acceptBefore: "2026-12-23T22:00:00.000Z",
    startBefore: "2026-11-26T22:00:00.000Z",
    start: "allowed",
    retry: false,
    stack: { name: "autonomy-core", version: "1.0.0", manifestDigest: DIGEST },
    repository: "stacks/autonomy-core",
    policy: { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 },
    correlationId: "1b4e28ba-2fa1-4d0c-883f-0016d3cca427",
    ...extra,
  };
}

if (import.meta.main) {
  await writeFile(SIGNED_ASSIGNMENTS, `${JSON.stringify(await makeAssignmentVectors(), null, 2)}\n`);
}

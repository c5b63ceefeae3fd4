import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Assignment, ReleaseSignature } from "@muto/spec";
import fc from "fast-check";
import { signRelease } from "./cosign.ts";
import { signAssignment, signReconcileReport } from "./documents.ts";
import { signEnvelope } from "./dsse.ts";
import { generateKey } from "./keys.ts";
import type { Signer } from "./keys.ts";
import { buildRoots } from "./roots.ts";
import type { TrustRoots } from "./roots.ts";
import { checkRelease, payloadHash, verifyAssignment } from "./verify-assignment.ts";
import type { AssignmentChecks } from "./verify-assignment.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER_DIGEST = `sha256:${"b".repeat(64)}`;
const ISSUED_MS = Date.parse("2026-11-23T22:00:00.000Z");
const DAY_MS = 86_400_000;

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

const hashOf = (assignment: Assignment) => payloadHash(Buffer.from(JSON.stringify(assignment)));

describe("an offered assignment", () => {
  let online: Signer, release: Signer, attacker: Signer, vehicle: Signer;
  let roots: TrustRoots;
  const document = (...signers: readonly Signer[]) => ({
    threshold: 1,
    keys: signers.map(({ publicKey: { keyid, algorithm, pem } }) => ({ keyid, algorithm, publicKey: pem })),
  });
  const rootsOf = (releaseKey: Signer, assignmentKey: Signer): TrustRoots => {
    const built = buildRoots("acme", { release: document(releaseKey), assignment: document(assignmentKey) });
    assert.ok(built.ok);
    return built.roots;
  };
  before(async () => {
    online = (await generateKey("ed25519")).signer;
    release = (await generateKey("ecdsa-p256")).signer;
    attacker = (await generateKey("ed25519")).signer;
    vehicle = (await generateKey("ed25519")).signer;
    roots = rootsOf(release, online);
  });

  const released = (digest = DIGEST, signer = release): Promise<ReleaseSignature> =>
    signRelease(signer, { dockerReference: "registry.example/stacks/autonomy-core", manifestDigest: digest });
  const offer = async (
    extra: Partial<Assignment> = {},
    options: { signer?: Signer; signatures?: readonly ReleaseSignature[] } = {},
  ) => ({
    envelope: await signAssignment(assignmentOf(extra), [options.signer ?? online]),
    releaseSignatures: options.signatures ?? [await released()],
  });
  const checks = (extra: Partial<AssignmentChecks> = {}): AssignmentChecks => ({
    roots,
    vehicleId: "vehicle-1",
    sequenceFloor: 6,
    acceptedHash: undefined,
    nowMs: () => ISSUED_MS + DAY_MS,
    ...extra,
  });

  test("that is authentic, for this vehicle, newer and released is accepted", async () => {
    const verified = verifyAssignment(await offer(), checks());
    assert.ok(verified.ok);
    assert.deepEqual(verified.assignment, assignmentOf());
    assert.equal(verified.payloadHash, hashOf(assignmentOf()));
    assert.deepEqual(verified.keyids, [online.publicKey.keyid]);
    assert.deepEqual(verified.release, { ok: true, keyids: [release.publicKey.keyid] });
  });

  test("meets every attack with its reason and numbers", async () => {
    const tampered = await offer();
    const report = await signReconcileReport(reportOf(), vehicle);
    const confused = { ...report, payloadType: tampered.envelope.payloadType };
    const asReport = await signEnvelope(report.payloadType, Buffer.from(JSON.stringify(assignmentOf())), [online]);
    const unknownKind = await signEnvelope(
      tampered.envelope.payloadType,
      Buffer.from('{"kind":"muto.assignment/v9"}'),
      [online],
    );
    const notJson = await signEnvelope(tampered.envelope.payloadType, Buffer.from("hello"), [online]);
    const with7 = { sequenceFloor: 7, acceptedHash: hashOf(assignmentOf()) };
    const situations: readonly {
      attack: string;
      offer: Parameters<typeof verifyAssignment>[0];
      checks?: Partial<AssignmentChecks>;
      reasonCode: string;
      problem: string;
      evidence?: Record<string, unknown>;
    }[] = [
      {
        attack: "arbitrary software: signed by a stranger",
        offer: await offer({}, { signer: attacker }),
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "unknown-key",
      },
      {
        attack: "stolen release key targets a vehicle",
        offer: await offer({}, { signer: release }),
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "unknown-key",
      },
      {
        attack: "payload changed on the way",
        offer: {
          ...tampered,
          envelope: {
            ...tampered.envelope,
            payload: Buffer.from(JSON.stringify(assignmentOf({ sequence: 99 }))).toString("base64"),
          },
        },
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "threshold-unmet",
      },
      {
        attack: "type confusion: a vehicle's report under the name of an assignment",
        offer: { ...tampered, envelope: confused },
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "unknown-key",
      },
      {
        attack: "type confusion: the right key, another type",
        offer: { ...tampered, envelope: asReport },
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "wrong-type",
      },
      {
        attack: "endless data",
        offer: { ...tampered, envelope: { ...tampered.envelope, payload: "A".repeat(400_000) } },
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "too-large",
      },
      {
        attack: "garbage",
        offer: { ...tampered, envelope: "hello" },
        reasonCode: "VERIFY_SIGNATURE_FAILED",
        problem: "malformed",
      },
      {
        attack: "a kind from the future",
        offer: { ...tampered, envelope: unknownKind },
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "malformed",
      },
      {
        attack: "signed, but not JSON",
        offer: { ...tampered, envelope: notJson },
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "malformed",
      },
      {
        attack: "wrong tenant",
        offer: await offer({ tenant: "other" }),
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "wrong-tenant",
        evidence: { digest: DIGEST, sequence: 7 },
      },
      {
        attack: "wrong vehicle: another one's document replayed",
        offer: await offer({ vehicleId: "vehicle-2" }),
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "wrong-vehicle",
        evidence: { digest: DIGEST, sequence: 7 },
      },
      {
        attack: "rollback: an older document replayed",
        offer: await offer(),
        checks: { sequenceFloor: 8 },
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "sequence-too-old",
        evidence: { digest: DIGEST, sequence: 7, floor: 8 },
      },
      {
        attack: "mix and match: same number, other content",
        offer: await offer({ stack: { name: "autonomy-core", version: "0.9.0", manifestDigest: OTHER_DIGEST } }),
        checks: with7,
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "sequence-conflict",
        evidence: { digest: OTHER_DIGEST, sequence: 7, floor: 7 },
      },
      {
        attack: "freeze: an old document offered for the first time",
        offer: await offer(),
        checks: { nowMs: () => ISSUED_MS + 31 * DAY_MS },
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "expired",
        evidence: { digest: DIGEST, sequence: 7 },
      },
      {
        attack: "wrong vehicle is said before an old sequence",
        offer: await offer({ vehicleId: "vehicle-2" }),
        checks: { sequenceFloor: 8 },
        reasonCode: "DESIRED_STATE_REJECTED",
        problem: "wrong-vehicle",
        evidence: { digest: DIGEST, sequence: 7 },
      },
    ];
    for (const { attack, offer: offered, checks: extra, reasonCode, problem, evidence } of situations) {
      const verified = verifyAssignment(offered, checks(extra));
      assert.ok(!verified.ok, attack);
      assert.equal(verified.reasonCode, reasonCode, attack);
      assert.deepEqual(verified.evidence, { kind: "verification", reasonCode, problem, ...evidence }, attack);
      assert.equal(verified.sequence, evidence?.["sequence"] ?? null, attack);
      assert.equal(verified.desiredStateRevision === null, evidence === undefined, attack);
    }
  });

  test("of unreleased software stays authentic, but nothing of it may run (one stolen key is not enough)", async () => {
    const situations = {
      "nothing signed it": { signatures: [], problem: "release-unsigned" },
      "the thief of the online key signed it": { signatures: [await released(DIGEST, online)], problem: "unknown-key" },
      "a stranger signed it": { signatures: [await released(DIGEST, attacker)], problem: "unknown-key" },
      "the signature is another release's": { signatures: [await released(OTHER_DIGEST)], problem: "digest-mismatch" },
    };
    for (const [name, { signatures, problem }] of Object.entries(situations)) {
      const verified = verifyAssignment(await offer({}, { signatures }), checks());
      assert.ok(verified.ok && !verified.release.ok, name);
      const evidence = { kind: "verification", reasonCode: "VERIFY_SIGNATURE_FAILED", problem, digest: DIGEST };
      assert.deepEqual(verified.release.evidence, evidence, name);
    }
    const two = await rootsWithTwoReleaseKeys();
    assert.deepEqual(checkRelease([await released()], DIGEST, two).ok, false);
  });

  test("that was accepted before is accepted again, however old, and under the same number only it", async () => {
    const known = { sequenceFloor: 7, acceptedHash: hashOf(assignmentOf()) };
    const later = checks({ ...known, nowMs: () => ISSUED_MS + 400 * DAY_MS });
    assert.equal(verifyAssignment(await offer(), later).ok, true);
    // Its content forgotten and only the floor left, the document is taken as new.
    assert.equal(verifyAssignment(await offer(), checks({ sequenceFloor: 7 })).ok, true);
  });

  test("is judged by the time that its own issuedAt allows, given to the caller", async () => {
    const seen: number[] = [];
    verifyAssignment(await offer(), checks({ nowMs: (issuedAtMs) => (seen.push(issuedAtMs), issuedAtMs) }));
    assert.deepEqual(seen, [ISSUED_MS]);
    const lastMoment = Date.parse(assignmentOf().acceptBefore);
    assert.equal(verifyAssignment(await offer(), checks({ nowMs: () => lastMoment - 1 })).ok, true);
    assert.equal(verifyAssignment(await offer(), checks({ nowMs: () => lastMoment })).ok, false);
  });

  test("with a sequence far ahead is undone by roots that replace the key (fast-forward)", async () => {
    const jump = await offer({ sequence: 2 ** 52 });
    assert.equal(verifyAssignment(jump, checks()).ok, true);
    const beyond = await offer({ sequence: 2 ** 52 + 1 });
    assert.equal(verifyAssignment(beyond, checks()).ok, false);
    const fresh = (await generateKey("ed25519")).signer;
    const rotated = rootsOf(release, fresh);
    const stuck = verifyAssignment(jump, checks({ roots: rotated, sequenceFloor: 0 }));
    assert.ok(!stuck.ok && stuck.evidence.problem === "unknown-key");
    const next = await offer({ sequence: 8 }, { signer: fresh });
    assert.equal(verifyAssignment(next, checks({ roots: rotated, sequenceFloor: 0 })).ok, true);
  });

  test("never lets a sequence below the floor through, and never throws, whatever the envelope is", async () => {
    const good = await offer();
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(20), (value, floor) => {
        assert.equal(verifyAssignment({ ...good, envelope: value }, checks()).ok, false);
        const verified = verifyAssignment(good, checks({ sequenceFloor: floor }));
        assert.equal(verified.ok, floor <= 7);
      }),
    );
  });

  async function rootsWithTwoReleaseKeys(): Promise<TrustRoots> {
    const second = (await generateKey("ed25519")).signer;
    const both = { ...document(release, second), threshold: 2 };
    const built = buildRoots("acme", { release: both, assignment: document(online) });
    assert.ok(built.ok);
    return built.roots;
  }
});

function reportOf() {
  return {
    kind: "muto.reconcile-report/v1",
    vehicleId: "vehicle-1",
    desiredStateRevision: null,
    sequence: 0,
    status: "pending",
    reasonCodes: [],
    timings: {},
    reportId: "01JDQ8Z3V4W5X6Y7Z8A9B0C1D2",
    installId: "01JDQ8Z3V4W5X6Y7Z8A9B0C1D3",
    seq: 1,
    bootId: "6fa459ea-ee8a-4ca4-894e-db77e160355e",
    at: "2026-11-23T22:00:00.000Z",
    stack: null,
    set: null,
    attempt: 0,
    phase: "idle",
    rollbackReady: false,
    evidence: [],
  } as const;
}

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { SIGNED_ASSIGNMENTS, makeAssignmentVectors } from "./signed-vectors.ts";
import { loadTrustFile } from "./trust-file.ts";
import { verifyAssignment } from "./verify-assignment.ts";

const vectors = await makeAssignmentVectors();

test("the signed vectors on file are the ones that are made here", async () => {
  const written: unknown = JSON.parse(await readFile(SIGNED_ASSIGNMENTS, "utf8"));
  assert.deepEqual(written, JSON.parse(JSON.stringify(vectors)), "run: node trust/signed-vectors.ts");
});

suite("each signed assignment gets the answer that every implementation has to give", () => {
  const trust = loadTrustFile(Buffer.from(JSON.stringify(vectors.trustFile)));
  assert.ok(trust.ok);
  assert.ok(vectors.cases.length >= 19);
  for (const { name, expected, ...given } of vectors.cases) {
    test(name, () => {
      const verified = verifyAssignment(given, {
        roots: trust.roots,
        vehicleId: given.vehicleId,
        sequenceFloor: given.sequenceFloor,
        acceptedHash: given.acceptedPayloadSha256 ?? undefined,
        nowMs: () => Date.parse(given.now),
      });
      if (expected.accepted) {
        assert.ok(verified.ok);
        assert.equal(verified.release.ok ? "signed" : verified.release.evidence.problem, expected.release);
      } else {
        assert.ok(!verified.ok);
        assert.deepEqual([verified.reasonCode, verified.evidence.problem], [expected.reasonCode, expected.problem]);
      }
    });
  }
});

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { MEDIA_TYPES, parseEnrolment, parseEnvelope, type Envelope } from "@muto/spec";
import { verifyEnvelope } from "@muto/trust/dsse";
import { generateKey } from "@muto/trust/keys";
import { makeEnrolment } from "./enrolment.ts";

test("enrolment: signed with the very key it names; the claim is read anew and may be missing", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "muto-enrolment-"));
  t.after(() => rm(folder, { recursive: true }));
  const { signer } = await generateKey("ed25519");
  const claimFile = join(folder, "claim");
  const said: string[] = [];
  const options = {
    onNoClaim: (path: string, problem: string) => said.push(`${path === folder ? "folder" : "file"} ${problem}`),
    disk: systemDisk(),
    clock: systemClock(),
    signer,
    tenant: "default",
    vehicleId: "vehicle-1",
    facts: { os: "ubuntu-22.04" },
    claimFile,
    installId: () => "01J00000000000000000000000",
  };
  const claimIn = (envelope: Envelope) => {
    assert.ok(parseEnvelope(envelope).ok);
    const policy = { payloadType: MEDIA_TYPES.enrolment, keys: [signer.publicKey], threshold: 1 };
    const verified = verifyEnvelope(envelope, policy);
    assert.ok(verified.ok, JSON.stringify(verified));
    const enrolment = parseEnrolment(JSON.parse(new TextDecoder().decode(verified.payload)));
    assert.ok(enrolment.ok, JSON.stringify(enrolment));
    assert.equal(enrolment.value.publicKey, signer.publicKey.pem);
    return enrolment.value.claim;
  };
  assert.equal(claimIn(await makeEnrolment(options)), undefined);
  await writeFile(claimFile, "not a claim");
  assert.equal(claimIn(await makeEnrolment(options)), undefined);
  const claim = `mct_${"A".repeat(43)}`;
  await writeFile(claimFile, `${claim}\n`);
  assert.equal(claimIn(await makeEnrolment(options)), claim);
  await writeFile(claimFile, "x".repeat(1_000));
  assert.equal(claimIn(await makeEnrolment(options)), undefined);
  assert.equal(claimIn(await makeEnrolment({ ...options, claimFile: folder })), undefined);
  assert.deepEqual(said, ["file missing", "file malformed", "file malformed", "folder unreadable"]);
});

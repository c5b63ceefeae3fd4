import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { signEnvelope } from "@muto/trust/dsse";
import { signEnrolment } from "@muto/trust/documents";
import { generateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import type { Enrolment } from "@muto/spec";
import { TENANT, TestApi } from "./server/test-api.ts";

describe("enrolment", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });
  const newKey = async (): Promise<Signer> => (await generateKey("ed25519")).signer;
  const added = async (id: string) => {
    await api.ask("POST", "/vehicles", { body: { id } });
    return id;
  };
  const claimFor = async (id: string): Promise<string> =>
    (await api.ask("POST", `/vehicles/${id}/claims`, { body: {} })).body.data.claim;
  const requestOf = (vehicleId: string, signer: Signer, more: Partial<Enrolment> = {}): Enrolment => ({
    kind: "muto.enrolment/v1",
    tenant: TENANT,
    vehicleId,
    publicKey: signer.publicKey.pem,
    installId: api.newId(),
    at: api.now(),
    ...more,
  });
  const enroll = async (vehicleId: string, signer: Signer, more: Partial<Enrolment> = {}) =>
    await api.ask("POST", "/enroll", {
      token: null,
      body: await signEnrolment(requestOf(vehicleId, signer, more), signer),
    });
  const polls = async (vehicleId: string, signer: Signer) => {
    const token = await createVehicleToken(signer, { vehicleId, tenant: TENANT, nowMs: api.context.clock.wallMs() });
    return (await api.ask("GET", `/desired-states/latest?vehicleId=${vehicleId}`, { token })).status;
  };
  const enrolmentOf = async (id: string) => (await api.ask("GET", `/vehicles/${id}`)).body.data.enrolment;

  it("with a claim is accepted at once, once; repeating it changes nothing", async () => {
    const id = await added("claimed-1");
    const key = await newKey();
    const claim = await claimFor(id);
    assert.equal((await enrolmentOf(id)).state, "claimed");
    assert.equal(await polls(id, key), 401);
    const accepted = await enroll(id, key, { claim, facts: { os: "ubuntu-22.04" } });
    assert.equal(accepted.status, 200);
    assert.deepEqual(accepted.body.data, { vehicleId: id, keyid: key.publicKey.keyid, state: "accepted" });
    assert.equal((await enroll(id, key, { claim })).status, 200);
    assert.equal(await polls(id, key), 200);
    assert.equal((await api.ask("GET", `/vehicles/${id}`)).body.data.facts.os, "ubuntu-22.04");
    const thief = await newKey();
    assert.equal((await enroll(id, thief, { claim })).body.error.code, "CLAIM_INVALID");
    assert.equal((await enrolmentOf(id)).alarm, "none");
  });

  it("stores only the hash of a claim", async () => {
    const id = await added("claimed-2");
    const claim = await claimFor(id);
    const rows = await api.database.db.selectFrom("claims").selectAll().where("vehicle_id", "=", id).execute();
    assert.equal(JSON.stringify(rows).includes(claim), false);
    const kept = await api.database.db.selectFrom("idempotency_keys").selectAll().execute();
    assert.equal(JSON.stringify(kept).includes(claim), false);
  });

  for (const [situation, prepare] of [
    ["an unknown claim", async () => `mct_${"x".repeat(43)}`],
    ["the claim of another vehicle", async () => await claimFor(await added("claimed-other"))],
    [
      "an expired claim",
      async (id: string) => {
        const claim = await claimFor(id);
        api.pass(901_000);
        return claim;
      },
    ],
    [
      "a claim that a newer one has replaced",
      async (id: string) => {
        const claim = await claimFor(id);
        await claimFor(id);
        return claim;
      },
    ],
  ] as const) {
    it(`refuses ${situation}`, async () => {
      const id = await added(`bad-claim-${situation.replaceAll(/[^a-z]/g, "-").slice(0, 30)}x`);
      const refused = await enroll(id, await newKey(), { claim: await prepare(id) });
      assert.equal(refused.status, 403);
      assert.equal(refused.body.error.code, "CLAIM_INVALID");
    });
  }

  it("without a claim waits until an operator accepts this very fingerprint", async () => {
    const id = await added("waiting-1");
    const key = await newKey();
    const waiting = await enroll(id, key);
    assert.equal(waiting.status, 202);
    assert.equal((await enroll(id, key)).status, 202);
    assert.deepEqual(await enrolmentOf(id), {
      state: "pending",
      keyid: null,
      pendingKeyid: key.publicKey.keyid,
      alarm: "none",
    });
    assert.equal(await polls(id, key), 401);
    const wrong = await api.ask("POST", `/vehicles/${id}/accept`, { body: { keyid: "0".repeat(64) } });
    assert.equal(wrong.body.error.code, "CONFLICT_ENROLMENT");
    const accepted = await api.ask("POST", `/vehicles/${id}/accept`, {
      body: { keyid: key.publicKey.keyid, comment: "seen at the gate" },
    });
    assert.equal(accepted.body.data.enrolment.state, "accepted");
    assert.equal((await enroll(id, key)).status, 200);
    assert.equal(await polls(id, key), 200);
    const audit = (await api.ask("GET", "/audit-log?action=vehicle.accepted")).body.data;
    assert.equal(audit[0].comment, "seen at the gate");
    assert.equal((await api.ask("GET", "/audit-log?action=vehicle.enrolment-pending")).body.metadata.totalItems, 1);
  });

  it("with a second key waits and raises an alarm, even with a claim; accepting it ends the first key", async () => {
    const id = await added("second-1");
    const [first, second] = [await newKey(), await newKey()];
    await enroll(id, first, { claim: await claimFor(id) });
    assert.equal((await enroll(id, second, { claim: await claimFor(id) })).status, 202);
    assert.deepEqual(await enrolmentOf(id), {
      state: "accepted",
      keyid: first.publicKey.keyid,
      pendingKeyid: second.publicKey.keyid,
      alarm: "second-key",
    });
    assert.deepEqual([await polls(id, first), await polls(id, second)], [200, 401]);
    await api.ask("POST", `/vehicles/${id}/accept`, { body: { keyid: second.publicKey.keyid } });
    assert.deepEqual([await polls(id, first), await polls(id, second)], [403, 200]);
    assert.equal((await enrolmentOf(id)).alarm, "none");
    assert.ok(api.forgotten.includes(id), "sessions of the former key end");
    assert.equal((await enroll(id, first)).body.error.code, "VEHICLE_REVOKED");
  });

  it("by a flood of keys neither fills the audit log nor pushes the honest key out, before it or after it", async () => {
    const id = await added("flooded-1");
    const [before, after] = [await newKey(), await newKey()];
    const flood = async () => {
      for (let count = 0; count < 8; count++) await enroll(id, await newKey());
    };
    const told = async () =>
      (await api.ask("GET", "/audit-log?action=vehicle.enrolment-pending&limit=200")).body.data.filter(
        (entry: { subject: { id: string } }) => entry.subject.id === id,
      ).length;
    await enroll(id, before);
    api.pass(1);
    await flood();
    api.pass(1);
    assert.equal((await enroll(id, after)).status, 202);
    assert.equal(await told(), 1);
    const waiting = await api.database.db
      .selectFrom("vehicle_keys")
      .select("key_id")
      .where("vehicle_id", "=", id)
      .where("status", "=", "pending")
      .execute();
    const keyids = waiting.map(({ key_id }) => key_id);
    assert.equal(keyids.length, 5);
    assert.ok(keyids.includes(before.publicKey.keyid) && keyids.includes(after.publicKey.keyid));
    api.pass(3_600_000);
    await flood();
    assert.equal(await told(), 2, "a new hour, a new entry");
  });

  it("that is rejected comes back only with a claim", async () => {
    const id = await added("rejected-1");
    const key = await newKey();
    await enroll(id, key);
    const rejected = await api.ask("POST", `/vehicles/${id}/reject`, { body: { keyid: key.publicKey.keyid } });
    assert.equal(rejected.body.data.enrolment.state, "none");
    assert.equal(
      (await api.ask("POST", `/vehicles/${id}/reject`, { body: { keyid: key.publicKey.keyid } })).status,
      200,
    );
    assert.equal((await enroll(id, key)).body.error.code, "FORBIDDEN");
    assert.equal((await enroll(id, key, { claim: await claimFor(id) })).status, 200);
  });

  it("of a revoked vehicle needs a new key and a claim, or an operator", async () => {
    const id = await added("revoked-1");
    const [first, second] = [await newKey(), await newKey()];
    await enroll(id, first, { claim: await claimFor(id) });
    const unused = await claimFor(id);
    await api.ask("POST", `/vehicles/${id}/revoke`, { body: { comment: "stolen" } });
    assert.equal((await enrolmentOf(id)).state, "revoked");
    assert.equal(await polls(id, first), 403);
    assert.equal(
      (await enroll(id, second, { claim: unused })).body.error.code,
      "CLAIM_INVALID",
      "unused claims die, too",
    );
    assert.equal((await enroll(id, first, { claim: await claimFor(id) })).body.error.code, "VEHICLE_REVOKED");
    assert.equal((await enroll(id, second, { claim: await claimFor(id) })).status, 200);
    assert.equal(await polls(id, second), 200);
  });

  it("of a decommissioned vehicle needs a new claim", async () => {
    const id = await added("gone-1");
    const key = await newKey();
    await api.ask("DELETE", `/vehicles/${id}`);
    assert.equal((await enroll(id, key)).body.error.code, "VEHICLE_REVOKED");
    assert.equal((await enroll(id, key, { claim: await claimFor(id) })).status, 200);
    assert.equal((await api.ask("GET", `/vehicles/${id}`)).body.data.decommissionedAt, null);
  });

  it("tells nobody without a claim whether a vehicle exists", async () => {
    assert.equal((await enroll("never-added", await newKey())).body.error.code, "CLAIM_INVALID");
  });

  it("must prove the key that it names, for this tenant, of the kind that vehicles have", async () => {
    const id = await added("proof-1");
    const [key, other] = [await newKey(), await newKey()];
    const p256 = (await generateKey("ecdsa-p256")).signer;
    const post = async (body: unknown) => (await api.ask("POST", "/enroll", { token: null, body })).body.error.code;
    assert.equal(await post(await signEnrolment(requestOf(id, key), other)), "SIGNATURE_INVALID");
    assert.equal(await post(await signEnrolment(requestOf(id, p256), p256)), "SIGNATURE_INVALID");
    assert.equal(await post(await signEnrolment(requestOf(id, key, { tenant: "elsewhere" }), key)), "FORBIDDEN");
    const otherType = await signEnvelope(
      "application/vnd.muto.root.v1+json",
      Buffer.from(JSON.stringify(requestOf(id, key))),
      [key],
    );
    assert.equal(await post(otherType), "SIGNATURE_INVALID");
    assert.equal(await post({}), "BODY_INVALID");
  });

  it("never registers one key for two vehicles", async () => {
    const [one, two] = [await added("shared-1"), await added("shared-2")];
    const key = await newKey();
    await enroll(one, key, { claim: await claimFor(one) });
    assert.equal((await enroll(two, key, { claim: await claimFor(two) })).body.error.code, "FORBIDDEN");
  });

  it("keeps a bounded number of waiting keys", async () => {
    const id = await added("flood-1");
    for (let index = 0; index < 8; index++) await enroll(id, await newKey());
    const { rows } = {
      rows: await api.database.db.selectFrom("vehicle_keys").select("key_id").where("vehicle_id", "=", id).execute(),
    };
    assert.equal(rows.length, 5);
  });

  it("gives the same claim to the same repeated request, until it is used", async () => {
    const id = await added("repeat-1");
    const headers = { "idempotency-key": "claim-for-repeat-1" };
    const first = await api.ask("POST", `/vehicles/${id}/claims`, { body: {}, headers });
    const again = await api.ask("POST", `/vehicles/${id}/claims`, { body: {}, headers });
    assert.deepEqual(again.body.data, first.body.data);
    assert.equal(
      (await api.ask("POST", `/vehicles/${id}/claims`, { body: { expiresInSec: 60 }, headers })).status,
      409,
    );
    await enroll(id, await newKey(), { claim: first.body.data.claim });
    const used = await api.ask("POST", `/vehicles/${id}/claims`, { body: {}, headers });
    assert.equal(used.body.error.code, "CONFLICT_IDEMPOTENCY_KEY");
    assert.equal((await api.ask("POST", "/vehicles/nobody/claims", { body: {} })).status, 404);
  });

  for (const [situation, make] of [
    [
      "an expired token",
      async (key: Signer, id: string) => {
        const nowMs = api.context.clock.wallMs() - 3_600_000;
        return await createVehicleToken(key, { vehicleId: id, tenant: TENANT, nowMs });
      },
    ],
    [
      "a token for another tenant",
      async (key: Signer, id: string) =>
        await createVehicleToken(key, { vehicleId: id, tenant: "elsewhere", nowMs: api.context.clock.wallMs() }),
    ],
    [
      "a token of another key",
      async (_key: Signer, id: string) =>
        await createVehicleToken(await newKey(), { vehicleId: id, tenant: TENANT, nowMs: api.context.clock.wallMs() }),
    ],
    [
      "a token without a signature",
      async (key: Signer, id: string) => {
        const token = await createVehicleToken(key, {
          vehicleId: id,
          tenant: TENANT,
          nowMs: api.context.clock.wallMs(),
        });
        const header = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT" })).toString("base64url");
        return `${header}.${token.split(".")[1] ?? ""}.`;
      },
    ],
    ["nonsense", async () => "a.b.c"],
  ] as const) {
    it(`does not know ${situation}`, async () => {
      const id = `token-${situation.replaceAll(/[^a-z]/g, "-")}`;
      const key = await newKey();
      await api.ask("POST", "/vehicles", { body: { id, publicKey: key.publicKey.pem } });
      const answer = await api.ask("GET", `/desired-states/latest?vehicleId=${id}`, { token: await make(key, id) });
      assert.equal(answer.status, 401);
      assert.equal(answer.body.error.code, "UNAUTHENTICATED");
      assert.equal(answer.headers["www-authenticate"], "Bearer");
    });
  }
});

import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { before, describe, test } from "node:test";
import fc from "fast-check";
import { SignJWT, jwtVerify } from "jose";
import { generateKey } from "./keys.ts";
import type { GeneratedKey } from "./keys.ts";
import {
  CLOCK_TOLERANCE_SEC,
  createVehicleToken,
  tokenSubject,
  tokenTimeMs,
  verifyVehicleToken,
} from "./vehicle-token.ts";

const NOW_MS = 1_800_000_000_000;
const NOW = NOW_MS / 1000;

describe("a vehicle token", () => {
  let mine: GeneratedKey, other: GeneratedKey;
  before(async () => {
    mine = await generateKey("ed25519");
    other = await generateKey("ed25519");
  });
  const expected = (nowMs = NOW_MS) => ({ key: mine.signer.publicKey, vehicleId: "vehicle-1", tenant: "acme", nowMs });
  const make = (extra: Record<string, unknown> = {}, signer = mine.signer) =>
    createVehicleToken(signer, { vehicleId: "vehicle-1", tenant: "acme", nowMs: NOW_MS, ...extra });
  const jwt = (claims: Record<string, unknown>, header: Record<string, unknown> = {}, key = mine) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "EdDSA", typ: "muto-vehicle+jwt", ...header })
      .sign(createPrivateKey(key.privatePem));
  const claims = { sub: "vehicle-1", aud: "acme", iat: NOW, exp: NOW + 60 };

  test("proves the vehicle's key, and a well-kept library agrees in both directions", async () => {
    const token = await make();
    assert.deepEqual(tokenSubject(token), { vehicleId: "vehicle-1", keyid: mine.signer.publicKey.keyid });
    assert.deepEqual(verifyVehicleToken(token, expected()), {
      ok: true,
      vehicleId: "vehicle-1",
      expiresAtMs: NOW_MS + 600_000,
    });
    const options = { audience: "acme", currentDate: new Date(NOW_MS), typ: "muto-vehicle+jwt", algorithms: ["EdDSA"] };
    const second = await jwtVerify(token, createPublicKey(mine.signer.publicKey.pem), options);
    assert.equal(second.payload.sub, "vehicle-1");
    assert.equal(verifyVehicleToken(await jwt(claims), expected()).ok, true);
  });

  test("that is not what is expected is refused with its own code", async () => {
    const good = await make();
    const [head = "", body = "", tail = ""] = good.split(".");
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const situations: Record<string, { token: string; problem: string }> = {
      "another key's": { token: await make({}, other.signer), problem: "bad-signature" },
      "another vehicle's, with our key": { token: await make({ vehicleId: "vehicle-2" }), problem: "wrong-vehicle" },
      "another tenant's": { token: await make({ tenant: "other" }), problem: "wrong-audience" },
      "claims exchanged": {
        token: `${head}.${encode({ ...claims, sub: "vehicle-2" })}.${tail}`,
        problem: "bad-signature",
      },
      "no algorithm": { token: `${encode({ alg: "none", typ: "muto-vehicle+jwt" })}.${body}.`, problem: "wrong-type" },
      "algorithm by the attacker's choice": {
        token: `${encode({ alg: "HS256", typ: "muto-vehicle+jwt" })}.${body}.${tail}`,
        problem: "wrong-type",
      },
      "a token for something else": { token: await jwt(claims, { typ: "JWT" }), problem: "wrong-type" },
      "long-lived": { token: await jwt({ ...claims, exp: NOW + 601 }), problem: "life-too-long" },
      "expired before it was made": { token: await jwt({ ...claims, exp: NOW - 1 }), problem: "malformed" },
      "no end": { token: await jwt({ sub: "vehicle-1", aud: "acme", iat: NOW }), problem: "malformed" },
      "audience as a list": { token: await jwt({ ...claims, aud: ["acme", "other"] }), problem: "malformed" },
      "two parts": { token: `${head}.${body}`, problem: "malformed" },
      "four parts": { token: `${good}.x`, problem: "malformed" },
      "loose base64": { token: `${head}.${body}.${tail}=`, problem: "malformed" },
      "a claim twice": {
        token: `${head}.${Buffer.from('{"sub":"a","sub":"vehicle-1","aud":"acme","iat":1,"exp":2}').toString("base64url")}.${tail}`,
        problem: "malformed",
      },
      huge: { token: "x".repeat(3000), problem: "malformed" },
      empty: { token: "", problem: "malformed" },
    };
    for (const [name, { token, problem }] of Object.entries(situations)) {
      assert.deepEqual(verifyVehicleToken(token, expected()), { ok: false, problem }, name);
    }
    const curve = await generateKey("ecdsa-p256");
    await assert.rejects(make({}, curve.signer));
    assert.deepEqual(verifyVehicleToken(good, { ...expected(), key: curve.signer.publicKey }), {
      ok: false,
      problem: "wrong-type",
    });
  });

  test("holds while clocks differ by less than the tolerance, either way", async () => {
    const token = await make({ lifeSec: 60 });
    const situations = [
      { skewSec: 0, outcome: "ok" },
      { skewSec: CLOCK_TOLERANCE_SEC, outcome: "ok" },
      { skewSec: CLOCK_TOLERANCE_SEC + 59, outcome: "ok" },
      { skewSec: CLOCK_TOLERANCE_SEC + 60, outcome: "expired" },
      { skewSec: -CLOCK_TOLERANCE_SEC, outcome: "ok" },
      { skewSec: -CLOCK_TOLERANCE_SEC - 1, outcome: "not-yet-valid" },
    ];
    for (const { skewSec, outcome } of situations) {
      const verified = verifyVehicleToken(token, expected(NOW_MS + skewSec * 1000));
      assert.equal(verified.ok ? "ok" : verified.problem, outcome, String(skewSec));
    }
  });

  test("of a vehicle whose clock is off by years is right after one refusal (never locked out)", async () => {
    const wallMs = 3_600_000;
    const refused = verifyVehicleToken(await make({ nowMs: tokenTimeMs(wallMs, undefined) }), expected());
    assert.deepEqual(refused, { ok: false, problem: "expired" });
    const contact = { serverDateMs: NOW_MS, wallMs };
    const token = await make({ nowMs: tokenTimeMs(wallMs + 5000, contact) });
    assert.equal(verifyVehicleToken(token, expected(NOW_MS + 5000)).ok, true);
  });

  test("made of anything never throws", () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), (text, header, body) => {
        const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
        for (const token of [text, `${encode(header)}.${encode(body)}.AAAA`]) {
          assert.equal(verifyVehicleToken(token, expected()).ok, false);
        }
      }),
    );
  });
});

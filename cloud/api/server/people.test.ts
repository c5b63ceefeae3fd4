import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { before, describe, it } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { systemClock } from "@muto/kit/clock";
import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import { createPeopleAuth } from "./people.ts";
import type { PeopleAuth } from "./people.ts";

const NOW_SEC = Date.UTC(2026, 10, 23, 10, 0) / 1000;
const ISSUER = "https://identity.test";
const JWKS_URL = "https://identity.test/keys";

interface Claims {
  readonly muto_role?: string | readonly string[];
  readonly aud?: string;
  readonly exp?: number;
  readonly sub?: string;
}

describe("people", () => {
  let identity: Awaited<ReturnType<typeof generateKeyPair>>;
  let auth: PeopleAuth;
  const clock: Clock = { ...systemClock(), wallMs: () => NOW_SEC * 1000 };
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const tokens = [
    { name: "alice", role: "operator", sha256: sha256("first") },
    { name: "victor", role: "viewer", sha256: sha256("second") },
  ] as const;

  before(async () => {
    identity = await generateKeyPair("ES256", { extractable: true });
    const jwk = { ...(await exportJWK(identity.publicKey)), kid: "k1", alg: "ES256" };
    const http: HttpClient = async ({ url }) => {
      assert.equal(url, JWKS_URL, "only the configured key set is asked");
      const body = chunksOf(Buffer.from(JSON.stringify({ keys: [jwk] })));
      return { status: 200, headers: new Map([["content-type", "application/json"]]), body };
    };
    const oidc = { issuer: ISSUER, audience: "muto", jwksUrl: JWKS_URL, roleClaim: "muto_role" };
    auth = createPeopleAuth({ tokens, oidc }, { clock, http });
  });

  const signed = async (
    claims: Claims,
    more: { readonly issuer?: string; readonly key?: typeof identity.privateKey } = {},
  ) =>
    await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "ES256", kid: "k1" })
      .setIssuer(more.issuer ?? ISSUER)
      .setAudience(claims.aud ?? "muto")
      .setSubject(claims.sub ?? "grace@fleet.test")
      .setExpirationTime(claims.exp ?? NOW_SEC + 300)
      .sign(more.key ?? identity.privateKey);

  it("are known by their static tokens, of which only the hash is there", async () => {
    assert.deepEqual(await auth("first"), { kind: "operator", id: "alice" });
    assert.deepEqual(await auth("second"), { kind: "viewer", id: "victor" });
    for (const guess of ["third", "", sha256("first"), "first ", "FIRST"]) assert.equal(await auth(guess), undefined);
  });

  for (const [role, kind] of [
    ["operator", "operator"],
    ["viewer", "viewer"],
    [["other", "viewer"], "viewer"],
    [["viewer", "operator"], "operator"],
  ] as const) {
    it(`are known by their identity provider, with the role ${JSON.stringify(role)}`, async () => {
      assert.deepEqual(await auth(await signed({ muto_role: role })), { kind, id: "grace@fleet.test" });
    });
  }

  for (const [situation, claims, more] of [
    ["without a role", {}, {}],
    ["with a role that is none", { muto_role: "admin" }, {}],
    ["from another issuer", { muto_role: "operator" }, { issuer: "https://evil.test" }],
    ["for another audience", { muto_role: "operator", aud: "other" }, {}],
    ["that has expired", { muto_role: "operator", exp: NOW_SEC - 120 }, {}],
    ["whose name cannot stand in the audit log", { muto_role: "operator", sub: "a b" }, {}],
  ] as const) {
    it(`are not known by a token ${situation}`, async () => {
      assert.equal(await auth(await signed(claims, more)), undefined);
    });
  }

  it("are not known by a token of another key, nor by one that a public key set could fake", async () => {
    const other = await generateKeyPair("ES256");
    assert.equal(await auth(await signed({ muto_role: "operator" }, { key: other.privateKey })), undefined);
    const secret = new TextEncoder().encode(JSON.stringify(await exportJWK(identity.publicKey)));
    const forged = await new SignJWT({ muto_role: "operator" })
      .setProtectedHeader({ alg: "HS256", kid: "k1" })
      .setIssuer(ISSUER)
      .setAudience("muto")
      .setSubject("mallory")
      .setExpirationTime(NOW_SEC + 300)
      .sign(secret);
    assert.equal(await auth(forged), undefined);
  });

  it("are not known while the key set cannot be fetched, and nothing fails", async () => {
    const http: HttpClient = () => Promise.reject(new Error("refused"));
    const oidc = { issuer: ISSUER, audience: "muto", jwksUrl: JWKS_URL, roleClaim: "muto_role" };
    const alone = createPeopleAuth({ tokens, oidc }, { clock, http });
    assert.equal(await alone(await signed({ muto_role: "operator" })), undefined);
    assert.deepEqual(await alone("first"), { kind: "operator", id: "alice" });
  });
});

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

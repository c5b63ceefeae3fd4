import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { generateKey } from "./keys.ts";
import type { PublicKey } from "./keys.ts";
import { loadTrustFile } from "./trust-file.ts";

describe("the trust file", () => {
  let release: PublicKey, second: PublicKey, online: PublicKey;
  before(async () => {
    release = (await generateKey("ecdsa-p256")).signer.publicKey;
    second = (await generateKey("ed25519")).signer.publicKey;
    online = (await generateKey("ed25519")).signer.publicKey;
  });
  const entry = (key: PublicKey, extra: Record<string, unknown> = {}) => ({
    keyid: key.keyid,
    algorithm: key.algorithm,
    publicKey: key.pem,
    ...extra,
  });
  const role = (...keys: readonly unknown[]) => ({ threshold: 1, keys });
  const file = (roles: Record<string, unknown>, extra: Record<string, unknown> = {}) =>
    Buffer.from(JSON.stringify({ kind: "muto.trust/v1", tenant: "acme", roles, ...extra }));

  test("gives the keys and thresholds of each role, and a hash that follows them", () => {
    const load = (threshold: number) =>
      loadTrustFile(
        file({ release: { ...role(entry(release), entry(second)), threshold }, assignment: role(entry(online)) }),
      );
    const [one, again, two] = [load(1), load(1), load(2)];
    assert.ok(one.ok && again.ok && two.ok);
    assert.equal(two.roots.tenant, "acme");
    assert.deepEqual(
      two.roots.role("release").keys.map(({ keyid }) => keyid),
      [release.keyid, second.keyid],
    );
    assert.equal(two.roots.role("release").threshold, 2);
    assert.deepEqual(
      two.roots.role("assignment").keys.map(({ keyid }) => keyid),
      [online.keyid],
    );
    assert.equal(one.roots.hash, again.roots.hash);
    assert.notEqual(one.roots.hash, two.roots.hash);
  });

  test("that would not protect is refused with its own code and the place", () => {
    const assignment = role(entry(online));
    const broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    const situations = [
      { name: "not JSON", bytes: Buffer.from("{"), problem: "malformed" },
      {
        name: "other kind",
        bytes: file({ release: role(entry(release)), assignment }, { kind: "muto.trust/v9" }),
        problem: "malformed",
      },
      { name: "a role missing", bytes: file({ assignment }), problem: "malformed" },
      { name: "no keys", bytes: file({ release: role(), assignment }), problem: "malformed" },
      {
        name: "threshold zero",
        bytes: file({ release: { ...role(entry(release)), threshold: 0 }, assignment }),
        problem: "malformed",
      },
      {
        name: "unknown field",
        bytes: file({ release: role(entry(release)), assignment }, { trustEverybody: true }),
        problem: "malformed",
      },
      { name: "huge", bytes: Buffer.alloc(70_000, " "), problem: "malformed" },
      {
        name: "key damaged",
        bytes: file({ release: role(entry(release, { publicKey: broken })), assignment }),
        problem: "key-malformed",
        path: "/roles/release/keys/0",
      },
      {
        name: "id of another key",
        bytes: file({ release: role(entry(release, { keyid: second.keyid })), assignment }),
        problem: "keyid-mismatch",
        path: "/roles/release/keys/0",
      },
      {
        name: "other algorithm",
        bytes: file({ release: role(entry(release, { algorithm: "ed25519" })), assignment }),
        problem: "algorithm-mismatch",
        path: "/roles/release/keys/0",
      },
      {
        name: "a key twice",
        bytes: file({ release: role(entry(release), entry(release)), assignment }),
        problem: "duplicate-key",
        path: "/roles/release/keys/1",
      },
      {
        name: "more than there are",
        bytes: file({ release: { ...role(entry(release)), threshold: 2 }, assignment }),
        problem: "threshold-unreachable",
        path: "/roles/release/threshold",
      },
      {
        name: "one key for both (arbitrary software with one stolen key)",
        bytes: file({ release: role(entry(release)), assignment: role(entry(online), entry(release)) }),
        problem: "key-in-both-roles",
        path: "/roles/assignment/keys/1",
      },
    ];
    for (const { name, bytes, problem, path } of situations) {
      const loaded = loadTrustFile(bytes);
      assert.ok(!loaded.ok, name);
      assert.equal(loaded.problem, problem, name);
      if (path !== undefined) assert.equal("path" in loaded ? loaded.path : "", path, name);
    }
  });
});

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { generateKey, keyFromSeed, parsePrivateKey, parsePublicKey } from "./keys.ts";

const ALGORITHMS = ["ed25519", "ecdsa-p256"] as const;

for (const algorithm of ALGORITHMS) {
  test(`${algorithm}: what one key signs, that key alone verifies, also after a journey through PEM`, async () => {
    const { signer, privatePem } = await generateKey(algorithm);
    const stranger = (await generateKey(algorithm)).signer;
    const again = parsePrivateKey(privatePem);
    const read = parsePublicKey(signer.publicKey.pem);
    assert.ok(again.ok && read.ok);
    assert.equal(read.key.keyid, signer.publicKey.keyid);
    assert.match(read.key.keyid, /^[0-9a-f]{64}$/);
    assert.equal(read.key.algorithm, algorithm);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (message) => {
        const signature = await again.signer.sign(message);
        assert.equal(read.key.verify(message, signature), true);
        assert.equal(stranger.publicKey.verify(message, signature), false);
        assert.equal(read.key.verify(Buffer.concat([message, Buffer.from("x")]), signature), false);
        assert.equal(read.key.verify(message, signature.subarray(1)), false);
      }),
      { numRuns: 20 },
    );
    assert.equal(read.key.verify(new Uint8Array(), new Uint8Array()), false);
    assert.equal(read.key.verify(new Uint8Array(), new Uint8Array(64)), false);
  });
}

test("a seed gives always the same Ed25519 key (RFC 8032, 7.1, test 1)", async () => {
  const seed = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex");
  const { signer, privatePem } = keyFromSeed(seed);
  const der = Buffer.from(signer.publicKey.pem.replaceAll(/-----[A-Z ]+-----|\s/g, ""), "base64");
  assert.equal(der.subarray(-32).toString("hex"), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const signature = Buffer.from(await signer.sign(new Uint8Array())).toString("hex");
  assert.match(
    signature,
    /^e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b/,
  );
  const again = parsePrivateKey(privatePem);
  assert.ok(again.ok && again.signer.publicKey.keyid === signer.publicKey.keyid);
  assert.throws(() => keyFromSeed(seed.subarray(1)), RangeError);
});

test("the encoding of an ECDSA signature is DER and nothing else", async () => {
  const { signer } = await generateKey("ecdsa-p256");
  const signature = await signer.sign(Buffer.from("x"));
  assert.equal(signature[0], 0x30);
  assert.equal(signer.publicKey.verify(Buffer.from("x"), signature), true);
});

test("keys that are not Ed25519 or P-256 public keys in PEM are refused with their own code", () => {
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync("ed25519");
  const spki = { format: "pem", type: "spki" } as const;
  const pkcs8 = { format: "pem", type: "pkcs8" } as const;
  const good = ed25519.publicKey.export(spki).toString();
  const privatePem = ed25519.privateKey.export(pkcs8).toString();
  const situations = [
    { pem: "", problem: "not-public-key-pem" },
    { pem: "hello", problem: "not-public-key-pem" },
    { pem: privatePem, problem: "not-public-key-pem" },
    { pem: good.replaceAll("PUBLIC KEY", "CERTIFICATE"), problem: "not-public-key-pem" },
    { pem: good + good, problem: "not-public-key-pem" },
    { pem: good.replace("MCow", "AAAA"), problem: "malformed" },
    { pem: p384.publicKey.export(spki).toString(), problem: "algorithm-unsupported" },
    { pem: rsa.publicKey.export(spki).toString(), problem: "algorithm-unsupported" },
    { pem: "A".repeat(5000), problem: "too-large" },
  ];
  for (const { pem, problem } of situations) assert.deepEqual(parsePublicKey(pem), { ok: false, problem });

  const secret = ed25519.privateKey.export({ ...pkcs8, cipher: "aes-256-cbc", passphrase: "x" }).toString();
  const privateSituations = [
    { pem: good, problem: "not-private-key-pem" },
    { pem: secret, problem: "encrypted" },
    {
      pem: "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
      problem: "encrypted",
    },
    { pem: p384.privateKey.export(pkcs8).toString(), problem: "algorithm-unsupported" },
    { pem: rsa.privateKey.export(pkcs8).toString(), problem: "algorithm-unsupported" },
    { pem: privatePem.replace("MC4C", "AAAA"), problem: "malformed" },
  ];
  for (const { pem, problem } of privateSituations) assert.deepEqual(parsePrivateKey(pem), { ok: false, problem });
});

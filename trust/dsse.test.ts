import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { before, describe, test } from "node:test";
import fc from "fast-check";
import { encodeBase64 } from "./base64.ts";
import { preAuthenticationEncoding, signEnvelope, verifyEnvelope } from "./dsse.ts";
import { generateKey, parsePublicKey } from "./keys.ts";
import type { Signer } from "./keys.ts";

const TYPE = "application/vnd.muto.test.v1+json";

/** The example of the DSSE protocol, version 1.0.2. Its signature is r and s side by side; our P-256 keys speak DER. */
test("the vector of the DSSE protocol verifies", () => {
  const payloadType = "http://example.com/HelloWorld";
  const key = createPublicKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-256",
      x: coordinate(46950820868899156662930047687818585632848591499744589407958293238635476079160n),
      y: coordinate(5640078356564379163099075877009565129882514886557779369047442380624545832820n),
    },
  });
  const parsed = parsePublicKey(key.export({ format: "pem", type: "spki" }).toString());
  assert.ok(parsed.ok);
  const raw = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==";
  const policy = { payloadType, keys: [parsed.key], threshold: 1 };
  const envelope = (sig: string) => ({ payload: "aGVsbG8gd29ybGQ=", payloadType, signatures: [{ sig }] });

  const verified = verifyEnvelope(envelope(encodeBase64(derOf(Buffer.from(raw, "base64")))), policy);
  assert.ok(verified.ok);
  assert.equal(Buffer.from(verified.payload).toString(), "hello world");
  assert.deepEqual(verified.keyids, [parsed.key.keyid]);
  // The encoding belongs to the key: the same signature in the other encoding is no signature.
  assert.deepEqual(verifyEnvelope(envelope(raw), policy), { ok: false, problem: "unknown-key", validSignatures: 0 });
  assert.equal(
    Buffer.from(preAuthenticationEncoding(payloadType, Buffer.from("hello world"))).toString(),
    "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
  );
});

test("lengths in the encoding count bytes, not characters", () => {
  assert.equal(Buffer.from(preAuthenticationEncoding("é", Buffer.from("ü"))).toString(), "DSSEv1 2 é 2 ü");
});

describe("an envelope", () => {
  let alice: Signer, bob: Signer, eve: Signer;
  before(async () => {
    alice = (await generateKey("ed25519")).signer;
    bob = (await generateKey("ecdsa-p256")).signer;
    eve = (await generateKey("ed25519")).signer;
  });
  const payload = Buffer.from('{"seq":1}');
  const policy = (signers: readonly Signer[], threshold: number) => ({
    payloadType: TYPE,
    keys: signers.map((signer) => signer.publicKey),
    threshold,
  });

  test("round trip: any bytes, any number of signers, threshold up to that number", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 2 }), async (bytes, threshold) => {
        const journey: unknown = JSON.parse(JSON.stringify(await signEnvelope(TYPE, bytes, [alice, bob])));
        const verified = verifyEnvelope(journey, policy([alice, bob, eve], threshold));
        assert.ok(verified.ok);
        assert.deepEqual(verified.payload, bytes);
        assert.equal(verified.keyids.length, 2);
      }),
      { numRuns: 25 },
    );
  });

  test("flipping any one bit of payload, type or signature is noticed", async () => {
    const envelope = await signEnvelope(TYPE, payload, [alice]);
    const [signature] = envelope.signatures;
    assert.ok(signature);
    fc.assert(
      fc.property(fc.constantFrom("payload", "sig"), fc.nat(), fc.integer({ min: 0, max: 7 }), (part, at, bit) => {
        const bytes = Buffer.from(part === "sig" ? signature.sig : envelope.payload, "base64");
        const index = at % bytes.byteLength;
        bytes.writeUInt8(bytes.readUInt8(index) ^ (1 << bit), index);
        const turned = bytes.toString("base64");
        const changed =
          part === "sig"
            ? { ...envelope, signatures: [{ ...signature, sig: turned }] }
            : { ...envelope, payload: turned };
        assert.equal(verifyEnvelope(changed, policy([alice], 1)).ok, false);
      }),
    );
  });

  test("everything an attacker may do to one is refused with its own code", async () => {
    const good = await signEnvelope(TYPE, payload, [alice]);
    const otherType = await signEnvelope("application/vnd.muto.other.v1+json", payload, [alice]);
    const otherPayload = await signEnvelope(TYPE, Buffer.from('{"seq":2}'), [alice]);
    const stranger = await signEnvelope(TYPE, payload, [eve]);
    const [mine] = good.signatures;
    assert.ok(mine);
    const claimed = {
      ...stranger,
      signatures: stranger.signatures.map((s) => ({ ...s, keyid: alice.publicKey.keyid })),
    };
    const situations: readonly { name: string; envelope: unknown; threshold?: number; problem: string }[] = [
      { name: "another document type (type confusion)", envelope: otherType, problem: "wrong-type" },
      { name: "type renamed after signing", envelope: { ...otherType, payloadType: TYPE }, problem: "threshold-unmet" },
      {
        name: "payload swapped (mix and match)",
        envelope: { ...good, payload: otherPayload.payload },
        problem: "threshold-unmet",
      },
      {
        name: "one key twice is one key",
        envelope: { ...good, signatures: [mine, mine] },
        threshold: 2,
        problem: "threshold-unmet",
      },
      { name: "one of two", envelope: good, threshold: 2, problem: "threshold-unmet" },
      { name: "threshold zero is met by nobody", envelope: good, threshold: 0, problem: "threshold-unmet" },
      { name: "signatures stripped", envelope: { ...good, signatures: [] }, problem: "threshold-unmet" },
      { name: "unknown key", envelope: stranger, problem: "unknown-key" },
      { name: "unknown key under a known name", envelope: claimed, problem: "threshold-unmet" },
      { name: "truncated base64", envelope: { ...good, payload: good.payload.slice(0, -1) }, problem: "malformed" },
      {
        name: "base64 with a hidden character",
        envelope: { ...good, payload: `${good.payload}\n` },
        problem: "malformed",
      },
      { name: "base64 with loose bits", envelope: { ...good, payload: "aGVsbG9=" }, problem: "malformed" },
      {
        name: "truncated signature base64",
        envelope: { ...good, signatures: [{ sig: mine.sig.slice(1) }] },
        problem: "malformed",
      },
      { name: "huge payload", envelope: { ...good, payload: "A".repeat(2_000_000) }, problem: "too-large" },
      { name: "huge signature", envelope: { ...good, signatures: [{ sig: "A".repeat(1000) }] }, problem: "malformed" },
      {
        name: "many signatures",
        envelope: { ...good, signatures: Array.from({ length: 17 }, () => mine) },
        problem: "too-large",
      },
      { name: "signature is a number", envelope: { ...good, signatures: [7] }, problem: "malformed" },
      { name: "keyid is a number", envelope: { ...good, signatures: [{ ...mine, keyid: 7 }] }, problem: "malformed" },
      { name: "no type", envelope: { payload: good.payload, signatures: good.signatures }, problem: "malformed" },
      { name: "signatures missing", envelope: { payload: good.payload, payloadType: TYPE }, problem: "malformed" },
      { name: "null", envelope: null, problem: "malformed" },
      { name: "array", envelope: [good], problem: "malformed" },
      { name: "text", envelope: JSON.stringify(good), problem: "malformed" },
    ];
    for (const { name, envelope, threshold, problem } of situations) {
      const verified = verifyEnvelope(envelope, policy([alice, bob], threshold ?? 1));
      assert.ok(!verified.ok, name);
      assert.equal(verified.problem, problem, name);
    }
  });

  test("the key id is a hint: absent or from another scheme, the signature still counts", async () => {
    const good = await signEnvelope(TYPE, payload, [alice]);
    for (const keyid of [undefined, "", "SHA256:xyz"]) {
      const signatures = good.signatures.map(({ sig }) => (keyid === undefined ? { sig } : { sig, keyid }));
      assert.ok(verifyEnvelope({ ...good, signatures }, policy([bob, alice], 1)).ok);
    }
  });

  test("a key listed twice in the policy is one key", async () => {
    const good = await signEnvelope(TYPE, payload, [alice]);
    const verified = verifyEnvelope(good, policy([alice, alice], 2));
    assert.deepEqual(verified, { ok: false, problem: "threshold-unmet", validSignatures: 1 });
  });

  test("arbitrary JSON never throws and never verifies", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        assert.equal(verifyEnvelope(value, policy([alice], 1)).ok, false);
      }),
    );
  });
});

function coordinate(value: bigint): string {
  return Buffer.from(value.toString(16).padStart(64, "0"), "hex").toString("base64url");
}

function derOf(raw: Buffer): Buffer {
  const integer = (bytes: Buffer): Buffer => {
    let start = 0;
    while (start < bytes.length - 1 && bytes[start] === 0) start++;
    const trimmed = bytes.subarray(start);
    const body = (trimmed[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed;
    return Buffer.concat([Buffer.from([0x02, body.length]), body]);
  };
  const both = Buffer.concat([integer(raw.subarray(0, 32)), integer(raw.subarray(32))]);
  return Buffer.concat([Buffer.from([0x30, both.length]), both]);
}

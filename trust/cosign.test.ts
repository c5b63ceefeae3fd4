import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, describe, test } from "node:test";
import { parseReleaseSignature } from "@muto/spec";
import type { ReleaseSignature } from "@muto/spec";
import fc from "fast-check";
import { encodeBase64 } from "./base64.ts";
import { cosignPayload, signRelease, verifyRelease, verifyReleaseSignature } from "./cosign.ts";
import { signEnvelope } from "./dsse.ts";
import { generateKey, parsePublicKey } from "./keys.ts";
import type { PublicKey, Signer } from "./keys.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const OTHER = `sha256:${"b".repeat(64)}`;
const REFERENCE = "registry.example/autonomy-core";

test("the payload is byte for byte what cosign writes", () => {
  const text = (annotations?: Record<string, string>) =>
    Buffer.from(
      cosignPayload({ dockerReference: REFERENCE, manifestDigest: DIGEST, ...(annotations && { annotations }) }),
    ).toString();
  const start =
    '{"critical":{"identity":{"docker-reference":"registry.example/autonomy-core"},' +
    `"image":{"docker-manifest-digest":"${DIGEST}"},"type":"cosign container image signature"},"optional":`;
  assert.equal(text(), `${start}null}`);
  assert.equal(text({ b: "2", a: "<1&>" }), `${start}{"a":"\\u003c1\\u0026\\u003e","b":"2"}}`);
});

test("what real cosign made is read and judged, and its payload is made here byte for byte", async () => {
  const file: unknown = JSON.parse(
    await readFile(new URL("../spec/vectors/signed/cosign.json", import.meta.url), "utf8"),
  );
  assert.ok(typeof file === "object" && file !== null && "sets" in file && Array.isArray(file.sets));
  const forms: string[] = [];
  for (const { madeBy, publicKey, cases } of file.sets) {
    const key = parsePublicKey(publicKey);
    assert.ok(key.ok && Array.isArray(cases));
    for (const { name, manifestDigest, signature: given, expected } of cases) {
      const signature = parseReleaseSignature(given);
      assert.ok(signature.ok, name);
      forms.push(`${madeBy.slice(0, 9)} ${signature.value.form}`);
      const verified = verifyReleaseSignature(signature.value, manifestDigest, [key.key]);
      const valid: unknown = { ok: true, keyids: [key.key.keyid] };
      assert.deepEqual(verified, expected === "signed" ? valid : { ok: false, problem: expected }, name);
      assert.equal(verifyReleaseSignature(signature.value, DIGEST, [key.key]).ok, false, name);
      if (signature.value.form !== "simple-signing") continue;
      const payload = Buffer.from(signature.value.payload, "base64").toString();
      const dockerReference = /"docker-reference":"([^"]*)"/.exec(payload)?.[1] ?? "";
      const annotations: Record<string, string> = name.includes("annotation") ? { pipeline: "42 <main>" } : {};
      assert.equal(
        Buffer.from(cosignPayload({ dockerReference, manifestDigest, annotations })).toString(),
        payload,
        name,
      );
    }
  }
  assert.deepEqual(forms, [
    "cosign v2 simple-signing",
    "cosign v2 simple-signing",
    "cosign v2 sigstore-bundle",
    "cosign v2 sigstore-bundle",
    "cosign v3 sigstore-bundle",
    "cosign v3 simple-signing",
  ]);
});

describe("a release signature", () => {
  let release: Signer, second: Signer, stranger: Signer;
  before(async () => {
    release = (await generateKey("ecdsa-p256")).signer;
    second = (await generateKey("ed25519")).signer;
    stranger = (await generateKey("ed25519")).signer;
  });
  const keys = (): readonly PublicKey[] => [release.publicKey, second.publicKey];

  const simple = async (text: string | Uint8Array, signer = release): Promise<ReleaseSignature> => {
    const payload = typeof text === "string" ? Buffer.from(text) : text;
    return { form: "simple-signing", payload: encodeBase64(payload), sig: encodeBase64(await signer.sign(payload)) };
  };
  const claims = (change: (text: string) => string) =>
    change(Buffer.from(cosignPayload({ dockerReference: REFERENCE, manifestDigest: DIGEST })).toString());

  const statement = (extra: Record<string, unknown> = {}) => ({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { sha256: "a".repeat(64) } }],
    predicateType: "https://sigstore.dev/cosign/sign/v1",
    predicate: {},
    ...extra,
  });
  const bundle = async (
    payload: unknown,
    options: { signer?: Signer; payloadType?: string; extra?: Record<string, unknown>; keyid?: string } = {},
  ): Promise<ReleaseSignature> => {
    const { signer = release, payloadType = "application/vnd.in-toto+json", extra = {}, keyid } = options;
    const bytes = Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
    const { signatures, ...envelope } = await signEnvelope(payloadType, bytes, [signer]);
    const value = {
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: { publicKey: { hint: "x" }, tlogEntries: [] },
      dsseEnvelope: {
        ...envelope,
        signatures: signatures.map(({ sig }) => (keyid === undefined ? { sig } : { sig, keyid })),
      },
      ...extra,
    };
    return { form: "sigstore-bundle", bundle: encodeBase64(Buffer.from(JSON.stringify(value))) };
  };

  test("in either form, by either kind of key, says which key signed the digest", async () => {
    for (const signer of [release, second]) {
      const forms = [
        await signRelease(signer, { dockerReference: REFERENCE, manifestDigest: DIGEST, annotations: { ci: "42" } }),
        await bundle(statement(), { signer }),
        await bundle(statement(), { signer, keyid: "" }),
      ];
      for (const form of forms) {
        assert.deepEqual(verifyReleaseSignature(form, DIGEST, keys()), { ok: true, keyids: [signer.publicKey.keyid] });
      }
    }
  });

  test("that releases nothing is refused with its own word (type confusion, mix and match)", async () => {
    const twice = claims((text) => text.replace('"image"', `"image":{"docker-manifest-digest":"${DIGEST}"},"image"`));
    const good = await simple(claims((text) => text));
    assert.ok(good.form === "simple-signing");
    const situations: Record<string, { signature: ReleaseSignature; problem: string; digest?: string }> = {
      "other digest": { signature: good, digest: OTHER, problem: "digest-mismatch" },
      "unknown key": {
        signature: await simple(
          claims((text) => text),
          stranger,
        ),
        problem: "unknown-key",
      },
      "payload swapped": {
        signature: { ...good, payload: encodeBase64(cosignPayload({ dockerReference: "x", manifestDigest: OTHER })) },
        digest: OTHER,
        problem: "unknown-key",
      },
      "signature cut": { signature: { ...good, sig: good.sig.slice(0, -4) }, problem: "unknown-key" },
      "not base64": { signature: { ...good, sig: "not base64!" }, problem: "malformed" },
      "another tool's type": {
        signature: await simple(claims((text) => text.replace("cosign container image", "atomic container"))),
        problem: "wrong-type",
      },
      "capital key, as Go would read it": {
        signature: await simple(claims((text) => text.replace("docker-manifest", "Docker-manifest"))),
        problem: "malformed",
      },
      "capital key beside the right one": {
        signature: await simple(claims((text) => text.replace('"type"', '"Type":"x","type"'))),
        problem: "malformed",
      },
      "key twice": { signature: await simple(twice), problem: "malformed" },
      "key twice, hidden by an escape": {
        signature: await simple(claims((text) => text.replace('"optional"', '"critica\\u006c":{},"optional"'))),
        problem: "malformed",
      },
      "not JSON": { signature: await simple("hello"), problem: "malformed" },
      "no object": { signature: await simple("[]"), problem: "malformed" },
      "nothing critical": { signature: await simple('{"optional":null}'), problem: "malformed" },
      "one of our own documents": { signature: await simple('{"kind":"muto.assignment/v1"}'), problem: "malformed" },
      huge: { signature: await simple(" ".repeat(16_000)), problem: "too-large" },
      "bundle, other digest": { signature: await bundle(statement()), digest: OTHER, problem: "digest-mismatch" },
      "bundle, unknown key": { signature: await bundle(statement(), { signer: stranger }), problem: "unknown-key" },
      "bundle, list of ingredients": {
        signature: await bundle(statement({ predicateType: "https://cyclonedx.org/bom" })),
        problem: "wrong-type",
      },
      "bundle, other statement": {
        signature: await bundle(statement({ _type: "https://in-toto.io/Statement/v0.1" })),
        problem: "wrong-type",
      },
      "bundle, other payload": {
        signature: await bundle(statement(), { payloadType: "application/vnd.muto.assignment.v1+json" }),
        problem: "wrong-type",
      },
      "bundle, other version": {
        signature: await bundle(statement(), { extra: { mediaType: "application/vnd.dev.sigstore.bundle.v9+json" } }),
        problem: "wrong-type",
      },
      "bundle of a file": {
        signature: await bundle(statement(), { extra: { dsseEnvelope: undefined, messageSignature: {} } }),
        problem: "wrong-type",
      },
      "bundle, no subject": { signature: await bundle(statement({ subject: [] })), problem: "digest-mismatch" },
      "bundle, subject of another kind": {
        signature: await bundle(statement({ subject: [{ digest: { sha512: "a" } }, 7] })),
        problem: "digest-mismatch",
      },
      "bundle, subjects no list": { signature: await bundle(statement({ subject: {} })), problem: "malformed" },
      "bundle, statement with a key twice": {
        signature: await bundle(JSON.stringify(statement()).replace("{", '{"subject":[],')),
        problem: "malformed",
      },
      "bundle, statement no object": { signature: await bundle([]), problem: "malformed" },
      "bundle, not JSON": {
        signature: { form: "sigstore-bundle", bundle: encodeBase64(Buffer.from("{")) },
        problem: "malformed",
      },
      "bundle, not base64": { signature: { form: "sigstore-bundle", bundle: "?" }, problem: "malformed" },
      "bundle, huge": {
        signature: { form: "sigstore-bundle", bundle: encodeBase64(Buffer.alloc(50_000, " ")) },
        problem: "too-large",
      },
    };
    for (const [name, { signature, digest, problem }] of Object.entries(situations)) {
      assert.deepEqual(verifyReleaseSignature(signature, digest ?? DIGEST, keys()), { ok: false, problem }, name);
    }
  });

  test("counts different keys over all that were found, and names what is missing", async () => {
    const one = await signRelease(release, { dockerReference: REFERENCE, manifestDigest: DIGEST });
    const two = await bundle(statement(), { signer: second });
    const foreign = await simple(
      claims((text) => text),
      stranger,
    );
    const old = await signRelease(release, { dockerReference: REFERENCE, manifestDigest: OTHER });
    const situations = [
      { name: "one is enough", signatures: [foreign, one], threshold: 1, outcome: "ok" },
      { name: "two of two", signatures: [one, two], threshold: 2, outcome: "ok" },
      {
        name: "the same key twice is one",
        signatures: [one, one, await bundle(statement())],
        threshold: 2,
        outcome: "threshold-unmet",
      },
      {
        name: "one of two, the other for another digest",
        signatures: [two, old],
        threshold: 2,
        outcome: "threshold-unmet",
      },
      { name: "none at all", signatures: [], threshold: 1, outcome: "release-unsigned" },
      { name: "strangers only", signatures: [foreign], threshold: 1, outcome: "unknown-key" },
      { name: "signed, but something else", signatures: [foreign, old], threshold: 1, outcome: "digest-mismatch" },
      { name: "a threshold of zero is met by nobody", signatures: [one], threshold: 0, outcome: "threshold-unmet" },
    ];
    for (const { name, signatures, threshold, outcome } of situations) {
      const verified = verifyRelease(signatures, DIGEST, { keys: keys(), threshold });
      assert.equal(verified.ok ? "ok" : verified.problem, outcome, name);
    }
  });

  test("made for any digest verifies for that one alone", async () => {
    const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
    await fc.assert(
      fc.asyncProperty(hex, hex, async (signed, asked) => {
        const signature = await signRelease(second, { dockerReference: REFERENCE, manifestDigest: `sha256:${signed}` });
        assert.equal(verifyReleaseSignature(signature, `sha256:${asked}`, keys()).ok, signed === asked);
        assert.equal(verifyReleaseSignature(signature, `sha256:${signed}`, keys()).ok, true);
      }),
      { numRuns: 20 },
    );
  });
});

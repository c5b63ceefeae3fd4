import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import type { HttpClient } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import { signRelease } from "@muto/trust/cosign";
import { signEnvelope } from "@muto/trust/dsse";
import { generateKey } from "@muto/trust/keys";
import type { Signer } from "@muto/trust/keys";
import { createRegistryClient } from "./client.ts";
import type { RegistryClient } from "./client.ts";
import { digestOf } from "./digest.ts";
import {
  COSIGN_SIGNATURE_ANNOTATION,
  COSIGN_SIMPLE_SIGNING,
  EMPTY_JSON,
  EMPTY_JSON_DIGEST,
  OCI_EMPTY,
  OCI_INDEX,
  OCI_MANIFEST,
  SIGSTORE_BUNDLE,
} from "./media-types.ts";
import { fallbackTag } from "./pull-referrers.ts";
import { serveRegistry } from "./registry/serve.ts";
import type { ServedRegistry } from "./registry/serve.ts";
import { lookUpSignatures } from "./signature-lookup.ts";
import { pushSignature } from "./signature-push.ts";

describe("release signatures in a registry", () => {
  let folder: string;
  let registry: ServedRegistry;
  let client: RegistryClient;
  let ci: Signer, owner: Signer, stranger: Signer;
  let count = 0;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "muto-signatures-"));
    const ports = { disk: systemDisk(), clock: systemClock(), random: systemRandom(), logger: silentLogger };
    registry = await serveRegistry(ports, { folder });
    client = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: registry.url });
    ci = (await generateKey("ecdsa-p256")).signer;
    owner = (await generateKey("ed25519")).signer;
    stranger = (await generateKey("ed25519")).signer;
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** A repository of its own with something to sign. */
  const subject = async () => {
    const repository = `stacks/s${count++}`;
    await pushBytes(repository, EMPTY_JSON);
    const bytes = manifestOf({ artifactType: "application/x", annotations: { n: repository } });
    const pushed = await client.pushManifest(repository, { bytes, mediaType: OCI_MANIFEST });
    assert.ok(pushed.ok);
    return { repository, manifestDigest: pushed.digest };
  };
  const lookUp = (at: { repository: string; manifestDigest: string }, of: RegistryClient = client) =>
    lookUpSignatures(of, { ...at, keys: [ci.publicKey, owner.publicKey] });
  const sign = (signer: Signer, at: { repository: string; manifestDigest: string }) =>
    signRelease(signer, { dockerReference: `registry.example/${at.repository}`, manifestDigest: at.manifestDigest });
  const pushBytes = async (repository: string, bytes: Uint8Array) => {
    const content = { digest: digestOf(bytes), sizeBytes: bytes.byteLength };
    const read = async (offset: number, length: number) => bytes.subarray(offset, offset + length);
    assert.ok((await client.pushBlob(repository, { content, read })).ok);
  };
  const manifestOf = (extra: Record<string, unknown>) =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: { mediaType: OCI_EMPTY, digest: EMPTY_JSON_DIGEST, size: 2 },
        layers: [{ mediaType: OCI_EMPTY, digest: EMPTY_JSON_DIGEST, size: 2 }],
        ...extra,
      }),
    );
  /** A sigstore bundle as a referrer, the way newer cosign leaves it. */
  const pushBundle = async (signer: Signer, at: { repository: string; manifestDigest: string }, withSubject = true) => {
    const statement = {
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ digest: { sha256: at.manifestDigest.slice(7) } }],
      predicateType: "https://sigstore.dev/cosign/sign/v1",
      predicate: {},
    };
    const dsseEnvelope = await signEnvelope("application/vnd.in-toto+json", Buffer.from(JSON.stringify(statement)), [
      signer,
    ]);
    const bundle = Buffer.from(JSON.stringify({ mediaType: SIGSTORE_BUNDLE, verificationMaterial: {}, dsseEnvelope }));
    await pushBytes(at.repository, bundle);
    const manifest = manifestOf({
      artifactType: SIGSTORE_BUNDLE,
      layers: [{ mediaType: SIGSTORE_BUNDLE, digest: digestOf(bundle), size: bundle.byteLength }],
      ...(withSubject ? { subject: { mediaType: OCI_MANIFEST, digest: at.manifestDigest, size: 1 } } : {}),
    });
    const pushed = await client.pushManifest(at.repository, { bytes: manifest, mediaType: OCI_MANIFEST });
    assert.ok(pushed.ok);
    return { mediaType: OCI_MANIFEST, digest: pushed.digest, size: manifest.byteLength };
  };

  test("are none where nobody signed, and that can be said", async () => {
    assert.deepEqual(await lookUp(await subject()), { found: [], keyids: [], failures: [] });
  });

  test("are found under the signature tag, one beside the other, once each", async () => {
    const at = await subject();
    const first = await sign(ci, at);
    for (const signature of [first, await sign(owner, at), first, await sign(stranger, at)]) {
      assert.deepEqual(await pushSignature(client, { ...at, signature }), {
        ok: true,
        tag: `sha256-${at.manifestDigest.slice(7)}.sig`,
      });
    }
    const looked = await lookUp(at);
    assert.deepEqual(looked.failures, []);
    assert.deepEqual(looked.keyids, [ci.publicKey.keyid, owner.publicKey.keyid].toSorted());
    assert.deepEqual(
      looked.found.map(({ place, keyids }) => [place, keyids.length]),
      [
        ["signature-tag", 1],
        ["signature-tag", 1],
        ["signature-tag", 0],
      ],
    );
    assert.deepEqual(looked.found[0]?.signature, first);
  });

  test("are found as referrers, before the tag", async () => {
    const at = await subject();
    await pushSignature(client, { ...at, signature: await sign(ci, at) });
    await pushBundle(owner, at);
    const looked = await lookUp(at);
    assert.deepEqual(
      looked.found.map(({ place, signature, keyids }) => [place, signature.form, keyids]),
      [
        ["referrers-api", "sigstore-bundle", [owner.publicKey.keyid]],
        ["signature-tag", "simple-signing", [ci.publicKey.keyid]],
      ],
    );
  });

  test("are found by the fallback tag where there is no referrers API, without annotations", async () => {
    const at = await subject();
    const entry = await pushBundle(ci, at, false);
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry] }));
    await client.pushManifest(at.repository, {
      bytes: index,
      mediaType: OCI_INDEX,
      tag: fallbackTag(at.manifestDigest),
    });
    const http = systemHttp();
    const withoutReferrers: HttpClient = async (request) =>
      request.url.includes("/referrers/") ? { status: 404, headers: new Map(), body: nothing() } : await http(request);
    const old = createRegistryClient({ clock: systemClock(), http: withoutReferrers }, { origin: registry.url });
    const looked = await lookUp(at, old);
    assert.deepEqual(
      looked.found.map(({ place, keyids }) => [place, keyids]),
      [["fallback-tag", [ci.publicKey.keyid]]],
    );
  });

  test("for something else count for nothing (mix and match, foreign layers, foreign subjects)", async () => {
    const [at, other] = [await subject(), await subject()];
    await pushSignature(client, { ...at, signature: await sign(ci, other) });
    const notes = manifestOf({ subject: { mediaType: OCI_MANIFEST, digest: at.manifestDigest, size: 1 } });
    await client.pushManifest(at.repository, { bytes: notes, mediaType: OCI_MANIFEST });
    const looked = await lookUp(at);
    assert.deepEqual(looked.keyids, []);
    assert.deepEqual(
      looked.found.map(({ keyids }) => keyids),
      [[]],
    );
  });

  test("that could not be looked for are told from none", async () => {
    const gone = createRegistryClient({ http: systemHttp(), clock: systemClock() }, { origin: "http://127.0.0.1:1" });
    const looked = await lookUp(await subject(), gone);
    const unreachable = { ok: false, problem: "unreachable" };
    assert.deepEqual(looked, {
      found: [],
      keyids: [],
      failures: [
        { place: "referrers-api", failure: unreachable },
        { place: "signature-tag", failure: unreachable },
      ],
    });
  });

  test("never replace what somebody else keeps under the tag, and are bounded", async () => {
    const at = await subject();
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }));
    await client.pushManifest(at.repository, {
      bytes: index,
      mediaType: OCI_INDEX,
      tag: `${fallbackTag(at.manifestDigest)}.sig`,
    });
    const signature = await sign(ci, at);
    assert.deepEqual(await pushSignature(client, { ...at, signature }), { ok: false, problem: "tag-taken" });
    assert.deepEqual(await pushSignature(client, { ...at, signature: { ...signature, payload: "?" } }), {
      ok: false,
      problem: "malformed",
    });
    const full = await subject();
    const payload = Buffer.from(signature.payload, "base64");
    await pushBytes(full.repository, payload);
    const layers = Array.from({ length: 32 }, (_, index) => ({
      mediaType: COSIGN_SIMPLE_SIGNING,
      digest: digestOf(payload),
      size: payload.byteLength,
      annotations: { [COSIGN_SIGNATURE_ANNOTATION]: `signature ${index}` },
    }));
    const tag = `${fallbackTag(full.manifestDigest)}.sig`;
    await client.pushManifest(full.repository, { bytes: manifestOf({ layers }), mediaType: OCI_MANIFEST, tag });
    const last = await pushSignature(client, { ...full, signature });
    assert.deepEqual(last, { ok: false, problem: "too-many-signatures" });
  });
});

async function* nothing(): AsyncGenerator<Uint8Array> {}

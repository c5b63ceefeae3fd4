import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ReleaseLookup } from "../ports.ts";
import { manifestOf, sha256, TestApi, VIEWER } from "./server/test-api.ts";

type Found = Extract<ReleaseLookup, { readonly ok: true }>;

describe("releases", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });
  const digestFor = (version: string) => `sha256:${sha256(`release ${version}`)}`;
  const archive = `sha256:${"a".repeat(64)}`;
  /** Puts an artifact with this manifest into the registry. */
  const pushed = (version: string, more: Partial<Found> = {}) => {
    const manifestDigest = digestFor(version);
    api.registry.set(manifestDigest, {
      ok: true,
      manifest: manifestOf(version),
      artifacts: [{ type: "native_archive", digest: archive, ref: `registry.test/autonomy@${archive}` }],
      signatures: [{ form: "simple-signing", payload: "e30=", sig: "AAAA" }],
      signatureRef: "cosign://registry.test/autonomy:sha256-x.sig",
      keyids: ["f".repeat(64)],
      verified: true,
      ...more,
    });
    return { stackName: "autonomy", version, manifestDigest };
  };

  it("are registered once, from what the signed manifest says", async () => {
    const body = pushed("1.0.0");
    const created = await api.ask("POST", "/releases", { body });
    assert.equal(created.status, 201, created.text);
    assert.equal(created.headers["location"], "/api/v1/releases/autonomy/1.0.0");
    const { data } = created.body;
    assert.deepEqual(data.compatibility, manifestOf("1.0.0").compatibility);
    assert.deepEqual(data.healthModel, {
      readinessTimeoutSec: 180,
      stableForSec: 0,
      probationSec: 60,
      maxRestarts: 3,
      windowSec: 300,
    });
    assert.deepEqual(data.security, {
      signatureRef: "cosign://registry.test/autonomy:sha256-x.sig",
      signaturePresent: true,
      signatureVerified: true,
      keyids: ["f".repeat(64)],
    });
    assert.deepEqual(data.artifacts, [
      { type: "native_archive", ref: `registry.test/autonomy@${archive}`, digest: archive },
    ]);
    assert.equal((await api.ask("POST", "/releases", { body })).status, 200);
    assert.deepEqual((await api.ask("GET", "/releases/autonomy/1.0.0", { token: VIEWER })).body.data, data);
  });

  it("may be posted with everything that the manifest says, as the founding document writes it", async () => {
    const body = {
      ...pushed("1.1.0"),
      repository: "autonomy",
      artifacts: [{ type: "native_archive", ref: "registry/autonomy:1.1.0", digest: archive }],
      compatibility: { vehicleModels: ["v3"], os: ["ubuntu-22.04"], rosDistro: ["humble"] },
      resourceProfile: { diskMbMin: 8000 },
      healthModel: { readinessTimeoutSec: 180 },
      security: { signatureRef: "cosign://registry.test/autonomy" },
    };
    const created = await api.ask("POST", "/releases", { body });
    assert.equal(created.status, 201, created.text);
    assert.equal(created.body.data.artifacts[0].ref, "registry/autonomy:1.1.0");
  });

  for (const [field, difference] of [
    [
      "compatibility.vehicleModels",
      { compatibility: { vehicleModels: ["v4"], os: ["ubuntu-22.04"], rosDistro: ["humble"] } },
    ],
    ["resourceProfile.diskMbMin", { resourceProfile: { diskMbMin: 1 } }],
    ["healthModel.readinessTimeoutSec", { healthModel: { readinessTimeoutSec: 1 } }],
    ["artifacts.0.digest", { artifacts: [{ type: "oci_image", ref: "x", digest: `sha256:${"b".repeat(64)}` }] }],
    ["version", { version: "9.9.9" }],
    ["stackName", { stackName: "other" }],
  ] as const) {
    it(`are refused when ${field} differs from the signed manifest (mix-and-match)`, async () => {
      const refused = await api.ask("POST", "/releases", {
        body: { ...pushed("1.2.0"), repository: "autonomy", ...difference },
      });
      assert.equal(refused.status, 422);
      assert.equal(refused.body.error.code, "MANIFEST_MISMATCH");
      assert.deepEqual(refused.body.error.details.fields, [field]);
    });
  }

  it("are immutable: other content under the same name and version is a conflict", async () => {
    await api.ask("POST", "/releases", { body: pushed("2.0.0") });
    const other = { ...pushed("2.0.0"), manifestDigest: `sha256:${"c".repeat(64)}` };
    const refused = await api.ask("POST", "/releases", { body: other });
    assert.equal(refused.body.error.code, "CONFLICT_RELEASE");
    assert.equal((await api.ask("GET", "/releases/autonomy/2.0.0")).body.data.manifestDigest, digestFor("2.0.0"));
  });

  it("without a signature that holds say so, and again after it was signed", async () => {
    const body = pushed("3.0.0", { signatures: [], signatureRef: null, keyids: [], verified: false });
    const unsigned = await api.ask("POST", "/releases", { body });
    assert.equal(unsigned.status, 201);
    assert.deepEqual(
      [unsigned.body.data.security.signaturePresent, unsigned.body.data.security.signatureVerified],
      [false, false],
    );
    pushed("3.0.0", { keyids: [], verified: false });
    const unknownKey = await api.ask("POST", "/releases", { body });
    assert.deepEqual([unknownKey.status, unknownKey.body.data.security.signatureVerified], [200, false]);
    pushed("3.0.0");
    const signed = await api.ask("POST", "/releases", { body });
    assert.equal(signed.status, 200);
    assert.equal(signed.body.data.security.signatureVerified, true);
    const audit = (await api.ask("GET", "/audit-log?action=release.created")).body.data;
    assert.deepEqual(audit[0].before?.signatureVerified, false);
    assert.deepEqual(audit[0].after?.signatureVerified, true);
  });

  for (const [problem, lookup, status, code] of [
    ["is not in the registry", { ok: false, problem: "not-found" }, 422, "MANIFEST_NOT_FOUND"],
    ["cannot be fetched", { ok: false, problem: "unreachable" }, 502, "REGISTRY_UNAVAILABLE"],
    [
      "is no stack",
      { ok: false, problem: "invalid", details: [{ path: "/workloads", message: "is missing" }] },
      422,
      "MANIFEST_INVALID",
    ],
  ] as const) {
    it(`are refused when the artifact ${problem}`, async () => {
      const body = pushed("4.0.0");
      api.registry.set(body.manifestDigest, lookup);
      const refused = await api.ask("POST", "/releases", { body });
      assert.deepEqual([refused.status, refused.body.error.code], [status, code]);
    });
  }

  it("are listed by stack, sorted and in pages", async () => {
    const listed = await api.ask("GET", "/releases?stack=autonomy&sort=version&limit=2");
    assert.deepEqual(
      listed.body.data.map(({ version }: { version: string }) => version),
      ["1.0.0", "1.1.0"],
    );
    assert.equal((await api.ask("GET", "/releases?stack=nothing")).body.metadata.totalItems, 0);
    assert.equal((await api.ask("GET", "/releases/autonomy/0.0.1")).body.error.code, "NOT_FOUND");
  });
});

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ERRORS, OPERATIONS, parseJson } from "@muto/spec";
import { createValidation } from "@muto/spec/validation";
import { parsePrivateKey } from "@muto/trust/keys";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import { startCloud } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { publish } from "./world/publish.ts";
import { createVehicle } from "./world/vehicle.ts";
import { eventually } from "./world/eventually.ts";

const VIEWER = "viewer-token-of-this-test-0123456789";

/* Who may do what, and how the running server says no: each refusal is the contract's envelope with an enumerated code. */
describe("access to the running control plane", () => {
  let folder: string;
  let cloud: Cloud;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "muto-access-"));
    const tokens = join(folder, "viewers");
    writeFileSync(tokens, `${VIEWER}\n`, { mode: 0o600 });
    cloud = await startCloud({ MUTO_VIEWER_TOKEN_FILE: tokens });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  interface Ask {
    readonly method?: string;
    readonly token?: string;
    readonly body?: unknown;
    readonly raw?: string;
    readonly headers?: Readonly<Record<string, string>>;
  }

  async function ask(path: string, { method = "GET", token, body, raw, headers = {} }: Ask = {}) {
    const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const answer = await fetch(`${cloud.url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(text === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    });
    const json = parseJson(Buffer.from(await answer.arrayBuffer()));
    return { status: answer.status, headers: answer.headers, body: json.ok ? json.value : undefined };
  }

  /** Asserts the status and the code, and that the whole answer follows the contract; its details. */
  async function refused(
    expected: { readonly status: number; readonly code: keyof typeof ERRORS },
    path: string,
    options: Ask = {},
  ) {
    const { status, body, headers } = await ask(path, options);
    const parsed = createValidation().parse("ErrorBody", body);
    assert.ok(parsed.ok, `${path}: ${JSON.stringify(body)}`);
    const { error } = parsed.value;
    assert.deepEqual([status, error.code], [expected.status, ERRORS[expected.code].code], path);
    assert.ok((headers.get("x-request-id") ?? "") !== "");
    assert.doesNotMatch(JSON.stringify(body), /\.ts:\d+|node_modules/, "never a stack trace");
    return error;
  }

  test("nobody gets in without credentials, or with wrong ones", async () => {
    for (const operation of Object.values(OPERATIONS)) {
      if (operation.principals.includes("anonymous")) continue;
      const path = operation.path.replaceAll(/\{[^}]+\}/g, "x1");
      await refused({ status: 401, code: "UNAUTHENTICATED" }, path, { method: operation.method });
    }
    await refused({ status: 401, code: "UNAUTHENTICATED" }, "/api/v1/vehicles", { token: "wrong" });
    assert.ok(Object.values(OPERATIONS).length > 30);
  });

  test("a viewer reads and writes nothing", async () => {
    assert.equal((await ask("/api/v1/vehicles", { token: VIEWER })).status, 200);
    for (const [path, body] of [
      ["/api/v1/vehicles", { id: "by-a-viewer" }],
      [
        "/api/v1/desired-states",
        { target: { type: "vehicleList", vehicleIds: [] }, stack: { name: "a", version: "1" } },
      ],
      ["/api/v1/rollouts/ro_00000000000000000000000000/pause", {}],
    ] as const) {
      await refused({ status: 403, code: "FORBIDDEN" }, path, { method: "POST", token: VIEWER, body });
    }
    const { status } = await ask("/api/v1/vehicles/by-a-viewer", { token: VIEWER });
    assert.equal(status, 404);
  });

  test("a vehicle reads its own assignment and no other, and does nothing that an operator does", async () => {
    await using one = await createVehicle(cloud, { id: "vehicle-a" });
    await using _other = await createVehicle(cloud, { id: "vehicle-b" });
    one.startAgent();
    const token = await eventually("the vehicle has a key that the control plane knows", async () => {
      const { body } = await cloud.session.call("getVehicle", { params: { id: one.id } });
      if (body.data.enrolment.state !== "accepted") return undefined;
      const key = parsePrivateKey(readFileSync(join(one.stateDir, "key", "vehicle.pem"), "utf8"));
      assert.ok(key.ok);
      return await createVehicleToken(key.signer, { vehicleId: one.id, tenant: "default", nowMs: Date.now() });
    });
    assert.equal((await ask("/api/v1/desired-states/latest?vehicleId=vehicle-a", { token })).status, 200);
    await refused({ status: 403, code: "FORBIDDEN" }, "/api/v1/desired-states/latest?vehicleId=vehicle-b", { token });
    await refused({ status: 403, code: "FORBIDDEN" }, "/api/v1/vehicles", { token });
    await refused({ status: 403, code: "FORBIDDEN" }, "/api/v1/vehicles", {
      method: "POST",
      token,
      body: { id: "x2" },
    });
    await cloud.session.call("revokeVehicle", { params: { id: one.id }, body: {} });
    const latest = "/api/v1/desired-states/latest?vehicleId=vehicle-a";
    await refused({ status: 403, code: "VEHICLE_REVOKED" }, latest, { token });
  });

  test("a body over its limit is refused before it is read", async () => {
    const raw = JSON.stringify({
      id: "large",
      tags: { note: "x".repeat(OPERATIONS.createVehicle.body?.bytesMax ?? 0) },
    });
    const { token } = cloud;
    await refused({ status: 413, code: "BODY_TOO_LARGE" }, "/api/v1/vehicles", { method: "POST", token, raw });
  });

  test("what is no JSON, or not as the contract has it, is refused with its place", async () => {
    const { token } = cloud;
    const post = { method: "POST", token } as const;
    await refused({ status: 400, code: "BODY_INVALID" }, "/api/v1/vehicles", { ...post, raw: "{" });
    const { details } = await refused({ status: 400, code: "BODY_INVALID" }, "/api/v1/vehicles", {
      ...post,
      body: { id: "UPPER" },
    });
    assert.match(JSON.stringify(details), /\/id/);
  });

  test("a bad selector is refused at its character, with what was expected", async () => {
    const { token } = cloud;
    for (const [selector, position] of [
      ["model=vehicle-v3 OR ring=1", 17],
      ["model", 5],
      ["=x", 0],
    ] as const) {
      const path = `/api/v1/vehicles?selector=${encodeURIComponent(selector)}`;
      const { details } = await refused({ status: 400, code: "SELECTOR_INVALID" }, path, { token });
      assert.match(JSON.stringify(details), new RegExp(`"position":${position}\\b`), selector);
      assert.match(JSON.stringify(details), /expected/);
    }
  });

  test("a release is what it is: the same again is answered with it, another digest is a conflict", async () => {
    const release = await publish(cloud, { version: "1.0.0" });
    const other = await publish(cloud, { version: "2.0.0" });
    const { token } = cloud;
    const post = { method: "POST", token } as const;
    const body = { stackName: release.name, version: release.version, repository: release.name };
    const same = await ask("/api/v1/releases", { ...post, body: { ...body, manifestDigest: release.manifestDigest } });
    assert.equal(same.status, 200);
    const again = { ...body, manifestDigest: other.manifestDigest };
    await refused({ status: 409, code: "CONFLICT_RELEASE" }, "/api/v1/releases", { ...post, body: again });
  });

  test("the same key with the same body is answered once, with another body it is a conflict", async () => {
    const { token } = cloud;
    const headers = { "idempotency-key": "one-key-of-this-test" };
    const post = { method: "POST", token, headers } as const;
    const first = await ask("/api/v1/vehicles", { ...post, body: { id: "only-once" } });
    assert.equal(first.status, 201);
    assert.equal(first.headers.get("location"), "/api/v1/vehicles/only-once");
    const second = await ask("/api/v1/vehicles", { ...post, body: { id: "only-once" } });
    assert.deepEqual([second.status, second.body], [201, first.body]);
    const conflict = { ...post, body: { id: "another-one" } };
    await refused({ status: 409, code: "CONFLICT_IDEMPOTENCY_KEY" }, "/api/v1/vehicles", conflict);
  });
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemHttp, type HttpClient } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import type { Envelope, HealthReport } from "@muto/spec";
import { createCloudClient } from "./cloud-client.ts";

const LIMIT_MS = 10_000;
const vehicleId = "vehicle-1";
const installId = "01J00000000000000000000000";
const timestamp = "2026-06-01T01:00:00.000Z";
const envelope: Envelope = {
  payloadType: "application/vnd.muto.assignment.v1+json",
  payload: "e30=",
  signatures: [{ keyid: "a".repeat(64), sig: "AAAA" }],
};
const offer = { envelope, releaseSignatures: [] };

type Handler = (request: IncomingMessage, body: string, response: ServerResponse) => void;

/** A real server on a free port, and a client that asks it. */
async function open(
  handler: Handler,
  changes: { readonly timeoutMs?: number; readonly path?: string; readonly wallMs?: number } = {},
) {
  const requests: {
    readonly url: string | undefined;
    readonly authorization: string | undefined;
    readonly body: string;
  }[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      requests.push({ url: request.url, authorization: request.headers.authorization, body });
      handler(request, body, response);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const clock = { ...systemClock(), ...(changes.wallMs !== undefined && { wallMs: () => changes.wallMs ?? 0 }) };
  const asked: string[] = [];
  const http: HttpClient = (request) => {
    asked.push(request.url);
    return systemHttp()(request);
  };
  const client = createCloudClient({
    url: `http://127.0.0.1:${address.port}${changes.path ?? ""}`,
    http,
    clock,
    logger: silentLogger,
    timeoutMs: changes.timeoutMs ?? LIMIT_MS,
    makeToken: async (nowMs) => `token-of-${new Date(nowMs).getUTCFullYear()}`,
    vehicleId,
  });
  return {
    url: `http://127.0.0.1:${address.port}`,
    client,
    requests,
    asked,
    poll: (etag?: string) => client.pollLatest({ sequenceFloor: 7, installId, etag }, new AbortController().signal),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

function answer(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Handler {
  return (_request, _body, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
}

test("cloud: the newest assignment, with floor, installation and what is acknowledged", async () => {
  const headers = { etag: '"7"', "muto-acknowledged-seq": "12", date: "Mon, 01 Jun 2026 01:00:00 GMT" };
  await using cloud = await open(answer(200, { data: { assignment: offer }, timestamp }, headers), { path: "/" });
  const polled = await cloud.poll();
  assert.deepEqual(polled, {
    kind: "latest",
    assignment: offer,
    etag: '"7"',
    acknowledgedSeq: 12,
    serverDateMs: Date.parse(timestamp),
  });
  assert.deepEqual(cloud.requests, [
    {
      url: `/api/v1/desired-states/latest?vehicleId=vehicle-1&sequenceFloor=7&installId=${installId}`,
      authorization: `Bearer token-of-${new Date(systemClock().wallMs()).getUTCFullYear()}`,
      body: "",
    },
  ]);
});

test("cloud: nothing newer than what the ETag names", async () => {
  await using cloud = await open((request, _body, response) => {
    response.writeHead(request.headers["if-none-match"] === '"7"' ? 304 : 500, { "muto-acknowledged-seq": "0" }).end();
  });
  const polled = await cloud.poll('"7"');
  assert.deepEqual([polled.kind, "acknowledgedSeq" in polled && polled.acknowledgedSeq], ["unchanged", 0]);
});

test("cloud: no assignment yet", async () => {
  await using cloud = await open(answer(200, { data: { assignment: null }, timestamp }));
  const polled = await cloud.poll();
  assert.ok(
    polled.kind === "latest" &&
      polled.assignment === null &&
      polled.etag === undefined &&
      polled.acknowledgedSeq === null,
  );
});

const unavailable: readonly (readonly [string, Handler, number | null])[] = [
  ["a body that is no JSON", (_request, _body, response) => response.end("hello"), null],
  ["a body that is not the contract's", answer(200, { data: { assignment: "run this" }, timestamp }), null],
  ["no body", answer(200, undefined), null],
  ["304 to a request without a condition", answer(304, undefined), null],
  ["a server error", answer(500, { error: { code: "INTERNAL" } }), null],
  ["too many requests", answer(429, {}, { "retry-after": "30" }), 30_000],
  ["an unreasonable delay", answer(503, {}, { "retry-after": "99999999" }), 600_000],
  ["endless data", (_request, _body, response) => response.end("x".repeat(1_100_000)), null],
  ["a connection that is cut", (_request, _body, response) => response.destroy(), null],
];
for (const [name, handler, retryAfterMs] of unavailable) {
  test(`cloud: unavailable: ${name}`, async () => {
    await using cloud = await open(handler);
    assert.deepEqual(await cloud.poll(), { kind: "unavailable", retryAfterMs });
  });
}

test(
  "cloud: slow retrieval: a body that trickles for ever is given up at the time limit",
  { timeout: LIMIT_MS },
  async () => {
    const late = { timeoutMs: 150 };
    await using cloud = await open((_request, _body, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write("{");
    }, late);
    assert.deepEqual(await cloud.poll(), { kind: "unavailable", retryAfterMs: null });
  },
);

test("cloud: nobody listens", async () => {
  const cloud = await open(answer(200, {}));
  await cloud[Symbol.asyncDispose]();
  assert.deepEqual(await cloud.poll(), { kind: "unavailable", retryAfterMs: null });
});

test("cloud: H26: a redirect is a refusal; only the configured origin is ever asked", async () => {
  await using elsewhere = await open(answer(200, { data: { assignment: offer }, timestamp }));
  await using cloud = await open(answer(302, undefined, { location: `${elsewhere.url}/collect` }));
  assert.deepEqual(await cloud.poll(), { kind: "refused", status: 302, code: null });
  assert.equal(cloud.asked.length, 1);
  assert.equal(elsewhere.requests.length, 0);
});

test("cloud: a refusal with its code, and one with a made-up code", async () => {
  const body = (code: string) => ({ error: { code, message: "no", details: {} }, timestamp });
  await using revoked = await open(answer(403, body("VEHICLE_REVOKED")));
  assert.deepEqual(await revoked.poll(), { kind: "refused", status: 403, code: "VEHICLE_REVOKED" });
  await using strange = await open(answer(403, body("rm -rf /")));
  assert.deepEqual(await strange.poll(), { kind: "refused", status: 403, code: null });
});

test("cloud: H20: a clock in 2099 makes a token for the server's time after one refusal", async () => {
  const handler: Handler = (request, body, response) => {
    const isGood = request.headers.authorization === "Bearer token-of-2026";
    const headers = { date: "Mon, 01 Jun 2026 01:00:00 GMT" };
    answer(isGood ? 200 : 401, { data: { assignment: null }, timestamp }, headers)(request, body, response);
  };
  await using cloud = await open(handler, { wallMs: Date.parse("2099-01-01T00:00:00Z") });
  assert.equal((await cloud.poll()).kind, "latest");
  assert.equal((await cloud.poll()).kind, "latest");
  assert.deepEqual(
    cloud.requests.map(({ authorization }) => authorization),
    ["Bearer token-of-2099", "Bearer token-of-2026", "Bearer token-of-2026"],
  );
});

test("cloud: a refused token is not tried twice when the clock is right", async () => {
  await using cloud = await open(answer(401, { error: { code: "UNAUTHENTICATED" } }));
  assert.deepEqual(await cloud.poll(), { kind: "refused", status: 401, code: "UNAUTHENTICATED" });
  assert.equal(cloud.requests.length, 1);
});

const bytes = new TextEncoder().encode(JSON.stringify(envelope));
const receipt = (index: number, result: string, error: string | null = null) => ({ index, result, error });

test("cloud: reports are handed in as they are, each with its receipt", async () => {
  const receipts = [receipt(0, "stored"), receipt(1, "refused", "SIGNATURE_INVALID")];
  await using cloud = await open(answer(200, { data: { receipts }, timestamp }));
  const posted = await cloud.client.postReconcile([bytes, bytes], new AbortController().signal);
  assert.deepEqual(posted, { kind: "answered", receipts });
  assert.deepEqual(JSON.parse(cloud.requests[0]?.body ?? ""), [envelope, envelope]);
});

const wrongReceipts = [
  ["too few", [receipt(0, "stored")]],
  ["out of order", [receipt(1, "stored"), receipt(0, "stored")]],
  ["of an unknown kind", [receipt(0, "stored"), receipt(1, "eaten")]],
] as const;
for (const [name, receipts] of wrongReceipts) {
  test(`cloud: receipts that are ${name} acknowledge nothing`, async () => {
    await using cloud = await open(answer(200, { data: { receipts }, timestamp }));
    const posted = await cloud.client.postReconcile([bytes, bytes], new AbortController().signal);
    assert.deepEqual(posted, { kind: "unavailable", retryAfterMs: null });
  });
}

test("cloud: a health report and an attachment", async () => {
  await using cloud = await open(answer(200, { data: {}, timestamp }));
  const health: HealthReport = {
    kind: "muto.health-report/v1",
    vehicleId,
    installId,
    bootId: "6f1d0d3e-6b1c-4d5a-9a0e-3f1f6f9b2a11",
    at: timestamp,
    stack: null,
    desiredStateRevision: null,
    rollbackReady: false,
    safetySnapshot: {
      moving: { value: null, ageMs: null },
      autonomousMode: { value: null, ageMs: null },
      batteryPct: { value: null, ageMs: null },
      insideWindow: { value: null, ageMs: null },
    },
    diskFreeMb: 1,
    agentVersion: "0.1.0",
    workloads: [],
  };
  const signal = new AbortController().signal;
  assert.deepEqual(await cloud.client.postHealth(health, signal), { kind: "delivered" });
  assert.deepEqual(JSON.parse(cloud.requests[0]?.body ?? ""), health);
  const digest = `sha256:${"b".repeat(64)}`;
  assert.deepEqual(await cloud.client.putAttachment(digest, bytes, signal), { kind: "delivered" });
  assert.equal(cloud.requests[1]?.url, `/api/v1/attachments/sha256%3A${"b".repeat(64)}`);
});

test("cloud: enrolment carries no token, and an answer for another vehicle is none", async () => {
  const answerFor = (id: string) => ({ data: { vehicleId: id, keyid: "c".repeat(64), state: "pending" }, timestamp });
  await using cloud = await open(answer(202, answerFor(vehicleId)));
  const signal = new AbortController().signal;
  assert.deepEqual(await cloud.client.enroll(envelope, signal), {
    kind: "answered",
    answer: { vehicleId, keyid: "c".repeat(64), state: "pending" },
  });
  assert.equal(cloud.requests[0]?.authorization, undefined);
  await using confused = await open(answer(200, answerFor("vehicle-2")));
  assert.equal((await confused.client.enroll(envelope, signal)).kind, "unavailable");
});

test("cloud: whoever asked may stop asking", { timeout: LIMIT_MS }, async () => {
  const asked = Promise.withResolvers<void>();
  await using cloud = await open(() => asked.resolve());
  const stop = new AbortController();
  const polling = cloud.client.pollLatest({ sequenceFloor: 0, installId, etag: undefined }, stop.signal);
  await asked.promise;
  stop.abort();
  assert.deepEqual(await polling, { kind: "unavailable", retryAfterMs: null });
});

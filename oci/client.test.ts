import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import fc from "fast-check";
import { createRegistryClient } from "./client.ts";
import type { RegistryClient, RegistryClientOptions } from "./client.ts";
import { createDigester, digestOf } from "./digest.ts";
import { EMPTY_JSON, EMPTY_JSON_DIGEST, OCI_EMPTY, OCI_MANIFEST } from "./media-types.ts";
import { fallbackTag } from "./pull-referrers.ts";
import { serveRegistry } from "./registry/serve.ts";
import { registryBase } from "./transport.ts";

/** Of the token `secret`. */
const SECRET_HASH = createHash("sha256").update("secret").digest("hex");

const PORTS = { http: systemHttp(), clock: systemClock() };

function clientFor(origin: string, options: Omit<RegistryClientOptions, "origin"> = {}): RegistryClient {
  return createRegistryClient(PORTS, { origin, ...options });
}

async function withRegistry(
  options: { readonly pushTokenHashes?: readonly string[]; readonly pullNeedsToken?: boolean } = {},
) {
  const folder = await mkdtemp(join(tmpdir(), "muto-client-"));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true }));
  const ports = { disk: systemDisk(), clock: systemClock(), random: systemRandom(), logger: silentLogger };
  const { url } = stack.use(await serveRegistry(ports, { ...options, folder }));
  return { url, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A server that does whatever the test says, for registries that lie. */
async function hostile(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    url: `http://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const contentOf = (bytes: Uint8Array) => ({ digest: digestOf(bytes), sizeBytes: bytes.byteLength });

async function pull(client: RegistryClient, bytes: Uint8Array, sizeBytes = bytes.byteLength) {
  const parts: Uint8Array[] = [];
  const write = async (part: Uint8Array) => void parts.push(part);
  const result = await client.pullBlob("x", { content: { digest: digestOf(bytes), sizeBytes }, write });
  return { result, text: Buffer.concat(parts).toString() };
}

const pushOf = (bytes: Uint8Array) => ({
  content: contentOf(bytes),
  read: async (offset: number, length: number) => bytes.subarray(offset, offset + length),
});

describe("against a real registry", () => {
  test("blobs of any size go there and back, in one request or in pieces", async () => {
    await using registry = await withRegistry();
    const client = clientFor(registry.url);
    for (const size of [0, 1, 100_000, 8 * 1024 * 1024 + 1]) {
      const bytes = Buffer.alloc(size, "muto");
      assert.deepEqual(await client.pushBlob("a/x", pushOf(bytes)), { ok: true, how: "uploaded" }, String(size));
      const hash = createDigester();
      const write = async (part: Uint8Array) => hash.update(part);
      assert.deepEqual(await client.pullBlob("a/x", { content: contentOf(bytes), write }), { ok: true });
      assert.equal(hash.digest(), digestOf(bytes));
    }
    assert.deepEqual(await client.hasBlob("a/x", digestOf(Buffer.from("absent"))), { ok: true, present: false });
  });

  test("a download resumes after any prefix", async () => {
    await using registry = await withRegistry();
    const client = clientFor(registry.url);
    const bytes = Buffer.from("0123456789".repeat(30));
    await client.pushBlob("x", pushOf(bytes));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.byteLength), async (start) => {
        const resume = createDigester();
        resume.update(bytes.subarray(0, start));
        const parts: Uint8Array[] = [];
        const write = async (part: Uint8Array) => void parts.push(part);
        assert.deepEqual(await client.pullBlob("x", { content: contentOf(bytes), write, resume }), { ok: true });
        assert.deepEqual(Buffer.concat(parts), bytes.subarray(start));
      }),
      { numRuns: 20 },
    );
    const wrongStart = createDigester();
    wrongStart.update(Buffer.from("not the beginning"));
    const outcome = await client.pullBlob("x", {
      content: contentOf(bytes),
      write: async () => {},
      resume: wrongStart,
    });
    assert.ok(!outcome.ok);
    assert.equal(outcome.problem, "digest-mismatch");
  });

  test("manifests come by tag and by digest, and referrers by the API", async () => {
    await using registry = await withRegistry();
    const client = clientFor(registry.url);
    await client.pushBlob("x", pushOf(EMPTY_JSON));
    const put = await client.pushManifest("x", { bytes: manifestOf(), mediaType: OCI_MANIFEST, tag: "v1" });
    assert.deepEqual(put, { ok: true, digest: digestOf(manifestOf()), subjectListed: false });
    for (const reference of ["v1", digestOf(manifestOf())]) {
      const got = await client.pullManifest("x", reference);
      assert.deepEqual(got, {
        ok: true,
        bytes: new Uint8Array(manifestOf()),
        digest: digestOf(manifestOf()),
        mediaType: OCI_MANIFEST,
      });
    }
    const referrer = manifestOf({ mediaType: OCI_MANIFEST, digest: digestOf(manifestOf()), size: 1 });
    const listed = await client.pushManifest("x", { bytes: referrer, mediaType: OCI_MANIFEST });
    assert.ok(listed.ok && listed.subjectListed);
    const referrers = await client.listReferrers("x", digestOf(manifestOf()));
    assert.ok(referrers.ok);
    assert.equal(referrers.via, "referrers-api");
    assert.deepEqual(
      referrers.descriptors.map(({ digest }) => digest),
      [digestOf(referrer)],
    );
    const absent = await client.pullManifest("x", "v2");
    assert.deepEqual(absent, { ok: false, problem: "not-found", httpStatus: 404 });
  });

  test("credentials of either kind are offered when asked for; wrong ones are unauthorized", async () => {
    await using registry = await withRegistry({ pushTokenHashes: [SECRET_HASH], pullNeedsToken: true });
    const situations = [
      { credentials: { kind: "bearer", token: "secret" }, ok: true },
      { credentials: { kind: "basic", username: "ci", password: "secret" }, ok: true },
      { credentials: { kind: "bearer", token: "wrong" }, ok: false },
      { credentials: { kind: "basic", username: "ci", password: "wrong" }, ok: false },
    ] as const;
    for (const { credentials, ok } of situations) {
      const outcome = await clientFor(registry.url, { credentials }).pushBlob(
        "x",
        pushOf(Buffer.from(credentials.kind)),
      );
      assert.deepEqual(outcome, ok ? { ok, how: "uploaded" } : { ok, problem: "unauthorized", httpStatus: 401 });
    }
    const anonymous = await clientFor(registry.url).pullManifest("x", "v1");
    assert.deepEqual(anonymous, { ok: false, problem: "unauthorized", httpStatus: 401 });
  });
});

const GOOD = Buffer.from("the right bytes, all of them");

describe("against a hostile registry", () => {
  const limits = { pace: { windowMs: 60, bytesPerWindowMin: 1000 }, answerMsMax: 300 };

  test("endless data is cut at the first byte too many", async () => {
    await using registry = await hostile((_request, response) => {
      const piece = Buffer.alloc(64 * 1024, GOOD);
      const more = () => {
        while (response.write(piece));
        response.once("drain", more);
      };
      more();
    });
    const { result } = await pull(clientFor(registry.url), GOOD);
    assert.ok(!result.ok);
    assert.equal(result.problem, "too-large");
    assert.ok(result.receivedBytes <= GOOD.byteLength);
    const manifest = await clientFor(registry.url).pullManifest("x", "v1");
    assert.deepEqual(manifest, { ok: false, problem: "too-large" });
  });

  test("slow retrieval ends at the pace, whether it drips or falls silent, and before or after the head", async () => {
    const drip = (response: ServerResponse) => {
      response.write("t");
      const timer = setInterval(() => response.write("h"), 5);
      response.once("close", () => clearInterval(timer));
    };
    const situations = {
      drips: drip,
      silent: (response: ServerResponse) => response.write("the"),
      headOnly: (response: ServerResponse) => response.flushHeaders(),
      nothing: () => undefined,
    };
    for (const [name, answer] of Object.entries(situations)) {
      await using registry = await hostile((_request, response) => void answer(response));
      const { result } = await pull(clientFor(registry.url, { limits }), Buffer.alloc(100_000));
      assert.ok(!result.ok);
      assert.equal(result.problem, "too-slow", name);
    }
  });

  test("a reader that takes its time is not the registry's fault", async () => {
    await using registry = await hostile((_request, response) => void response.end(GOOD));
    const client = clientFor(registry.url, { limits });
    const write = () => new Promise<void>((resolve) => void setTimeout(resolve, 150));
    assert.deepEqual(await client.pullBlob("x", { content: contentOf(GOOD), write }), { ok: true });
  });

  test("what the writer throws passes through, as the disk's own trouble", async () => {
    await using registry = await hostile((_request, response) => void response.end(GOOD));
    const full = new Error("ENOSPC");
    const write = () => Promise.reject(full);
    await assert.rejects(clientFor(registry.url).pullBlob("x", { content: contentOf(GOOD), write }), full);
  });

  test("every other lie is named", async () => {
    const situations: Record<string, { answer: (response: ServerResponse) => void; problem: string; status?: number }> =
      {
        "wrong bytes": { answer: (r) => r.end(Buffer.alloc(GOOD.byteLength)), problem: "digest-mismatch" },
        "too few bytes": { answer: (r) => r.end("the right"), problem: "truncated" },
        "cut off": {
          answer: (r) => void r.writeHead(200, { "content-length": "28" }).write("the", () => r.destroy()),
          problem: "truncated",
        },
        absent: { answer: (r) => r.writeHead(404).end("{}"), problem: "not-found", status: 404 },
        forbidden: { answer: (r) => r.writeHead(403).end(), problem: "unauthorized", status: 403 },
        broken: { answer: (r) => r.writeHead(500).end(), problem: "unexpected-status", status: 500 },
        "no content": { answer: (r) => r.writeHead(204).end(), problem: "unexpected-status", status: 204 },
        "range nobody asked for": {
          answer: (r) => r.writeHead(206, { "content-range": "bytes 5-27/28" }).end(GOOD),
          problem: "unexpected-status",
          status: 206,
        },
        "round in circles": {
          answer: (r) => r.writeHead(307, { location: "/v2/again" }).end(),
          problem: "unexpected-status",
        },
        "sent nowhere": { answer: (r) => r.writeHead(302).end(), problem: "unexpected-status", status: 302 },
        "hung up": { answer: (r) => r.destroy(), problem: "unreachable" },
      };
    for (const [name, { answer, problem, status }] of Object.entries(situations)) {
      await using registry = await hostile((_request, response) => answer(response));
      const { result } = await pull(clientFor(registry.url, { limits: { answerMsMax: 5000 } }), GOOD);
      assert.ok(!result.ok, name);
      assert.deepEqual([result.problem, result.httpStatus], [problem, status], name);
    }
    const gone = await pull(clientFor("http://127.0.0.1:1"), GOOD);
    assert.ok(!gone.result.ok && gone.result.problem === "unreachable");
  });

  test("a busy registry says when to come back", async () => {
    await using registry = await hostile(
      (_request, response) => void response.writeHead(503, { "retry-after": "7" }).end(),
    );
    const answer = await clientFor(registry.url).pullManifest("x", "v1");
    assert.deepEqual(answer, { ok: false, problem: "unexpected-status", httpStatus: 503, retryAfterSec: 7 });
  });

  test("a manifest other than the digest asked for is refused", async () => {
    await using registry = await hostile((_request, response) => void response.end(GOOD));
    const answer = await clientFor(registry.url).pullManifest("x", digestOf(Buffer.from("other")));
    assert.deepEqual(answer, { ok: false, problem: "digest-mismatch", httpStatus: 200 });
  });

  test("a registry without ranges sends all of it, and what is there already is skipped", async () => {
    await using registry = await hostile((_request, response) => void response.end(GOOD));
    const resume = createDigester();
    resume.update(GOOD.subarray(0, 10));
    const parts: Uint8Array[] = [];
    const write = async (part: Uint8Array) => void parts.push(part);
    assert.deepEqual(await clientFor(registry.url).pullBlob("x", { content: contentOf(GOOD), write, resume }), {
      ok: true,
    });
    assert.deepEqual(Buffer.concat(parts), GOOD.subarray(10));
  });

  test("a download that was cut off goes on where it was", async () => {
    await using registry = await hostile((request, response) => {
      const start = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? "bytes=0-")?.[1]);
      const headers = { "content-range": `bytes ${start}-27/28`, "content-length": String(28 - start) };
      response.writeHead(start === 0 ? 200 : 206, headers);
      response.write(GOOD.subarray(start, start + 7), () => (start + 7 < 28 ? response.destroy() : response.end()));
    });
    const resume = createDigester();
    const client = clientFor(registry.url);
    const outcomes: unknown[] = [];
    for (let attempt = 0; attempt < 4; attempt++) {
      const outcome = await client.pullBlob("x", { content: contentOf(GOOD), write: async () => {}, resume });
      outcomes.push(outcome.ok ? "done" : outcome.problem);
    }
    assert.deepEqual(outcomes, ["truncated", "truncated", "truncated", "done"]);
  });

  test("credentials stay with the registry when a download is sent elsewhere", async () => {
    const seen: (string | undefined)[] = [];
    await using elsewhere = await hostile((request, response) => {
      seen.push(request.headers.authorization);
      response.end(GOOD);
    });
    await using registry = await hostile((request, response) => {
      if (request.headers.authorization === undefined) response.writeHead(401, { "www-authenticate": "Basic" }).end();
      else response.writeHead(307, { location: `${elsewhere.url}/blob` }).end();
    });
    const credentials = { kind: "basic", username: "u", password: "p" } as const;
    assert.deepEqual((await pull(clientFor(registry.url, { credentials }), GOOD)).result, { ok: true });
    assert.deepEqual(seen, [undefined]);
  });

  test("a token service is asked, with the scope that the registry names, and not one that would see the password in clear", async () => {
    const asked: string[] = [];
    await using registry = await hostile((request, response) => {
      const { authorization, host } = request.headers;
      if (request.url?.startsWith("/token") === true) {
        asked.push(`${request.url} ${authorization ?? "anonymous"}`);
        response.end(JSON.stringify({ token: "short-lived" }));
      } else if (authorization === "Bearer short-lived") response.end(GOOD);
      else {
        const challenge = `Bearer realm="http://${host}/token",service="reg",scope="repository:x:pull"`;
        response.writeHead(401, { "www-authenticate": challenge }).end();
      }
    });
    assert.deepEqual((await pull(clientFor(registry.url), GOOD)).result, { ok: true });
    assert.deepEqual(asked, ["/token?service=reg&scope=repository%3Ax%3Apull anonymous"]);

    await using liar = await hostile((_request, response) => {
      response.writeHead(401, { "www-authenticate": 'Bearer realm="http://collector.example/token"' }).end();
    });
    const refused = await pull(
      clientFor(liar.url, { credentials: { kind: "basic", username: "u", password: "p" } }),
      GOOD,
    );
    assert.ok(!refused.result.ok && refused.result.problem === "unauthorized");
  });

  test("referrers come from the fallback tag where there is no API, and nothing is nothing", async () => {
    const entry = { mediaType: OCI_MANIFEST, digest: digestOf(GOOD), size: 3 };
    await using registry = await hostile((request, response) => {
      if (request.url === `/v2/x/manifests/${fallbackTag(digestOf(GOOD))}`) {
        response.end(JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
      } else response.writeHead(404).end();
    });
    const found = await clientFor(registry.url).listReferrers("x", digestOf(GOOD));
    const descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(GOOD), sizeBytes: 3 };
    assert.deepEqual(found, { ok: true, via: "fallback-tag", descriptors: [descriptor] });
    const nothing = await clientFor(registry.url).listReferrers("x", digestOf(Buffer.from("other")));
    assert.deepEqual(nothing, { ok: true, via: "fallback-tag", descriptors: [] });
  });
});

test("the base of a registry is https, but for loopback and what the configuration allows", () => {
  const situations = [
    { text: "127.0.0.1:5000", expected: { ok: true, origin: "http://127.0.0.1:5000" } },
    { text: "http://localhost:8080", expected: { ok: true, origin: "http://localhost:8080" } },
    { text: "http://localhost:8080/", expected: { ok: true, origin: "http://localhost:8080" } },
    { text: "registry.example", expected: { ok: true, origin: "https://registry.example" } },
    { text: "https://registry.example:8443", expected: { ok: true, origin: "https://registry.example:8443" } },
    { text: "http://registry.example", expected: { ok: false, problem: "plain-http-refused" } },
    { text: "http://registry.example", plain: true, expected: { ok: true, origin: "http://registry.example" } },
    { text: "https://user:secret@registry.example", expected: { ok: false, problem: "malformed" } },
    { text: "https://registry.example/prefix", expected: { ok: false, problem: "malformed" } },
    { text: "ftp://registry.example", expected: { ok: false, problem: "malformed" } },
    { text: "not a host", expected: { ok: false, problem: "malformed" } },
  ];
  for (const { text, plain, expected } of situations) assert.deepEqual(registryBase(text, plain), expected, text);
});

function manifestOf(subject?: Readonly<Record<string, unknown>>): Buffer {
  const config = { mediaType: OCI_EMPTY, digest: EMPTY_JSON_DIGEST, size: 2 };
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [], subject }));
}

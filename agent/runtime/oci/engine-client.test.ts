import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EngineClient, type EngineProblem } from "./engine-client.ts";
import { engineAt } from "./engine.ts";
import { fakeEngine, json, type Answering } from "./test-engine.ts";

const signal = new AbortController().signal;

async function* bytes(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield new Uint8Array(Buffer.from(text));
}

void describe("an engine's answers are values", () => {
  const cases: readonly (readonly [string, Answering, EngineProblem])[] = [
    ["not found", (_, response) => json(response, 404, { message: "no such container" }), "not-found"],
    ["conflict", (_, response) => json(response, 409, { message: "name in use" }), "conflict"],
    ["any other refusal", (_, response) => json(response, 500, { message: "out of order" }), "refused"],
    ["an answer that no engine gives", (_, response) => json(response, 200, { Id: 7 }), "malformed"],
    ["no JSON", (_, response) => void response.writeHead(200).end("<html>"), "malformed"],
    ["a broken connection", (request) => void request.socket.destroy(), "unreachable"],
    [
      "a connection that breaks in the middle",
      (request, response) => {
        response.writeHead(200, { "content-length": "100" }).write("{");
        setImmediate(() => request.socket.destroy());
      },
      "unreachable",
    ],
    ["endless data", (_, response) => void response.writeHead(200).end(Buffer.alloc(5 * 1024 * 1024)), "too-large"],
  ];
  for (const [name, answer, problem] of cases) {
    void test(name, async () => {
      await using fake = await fakeEngine(answer);
      using engine = engineAt(fake.socket);
      const got = await engine.container("c1");
      assert.equal(got.ok ? "ok" : got.problem, problem);
    });
  }

  void test("nobody listens", async () => {
    using engine = engineAt("/nonexistent/engine.sock");
    const got = await engine.version();
    assert.deepEqual(got.ok ? "ok" : [got.problem, got.said], ["unreachable", "ENOENT"]);
  });

  void test("no answer within the limit", async () => {
    await using fake = await fakeEngine(() => {});
    using client = new EngineClient(fake.socket);
    const got = await client.ask({ method: "GET", path: "/version", timeoutMs: 20 });
    assert.equal(got.ok ? "ok" : got.problem, "timeout");
  });

  void test("what an engine says is shortened", async () => {
    await using fake = await fakeEngine((_, response) => json(response, 500, { message: "x".repeat(10_000) }));
    using engine = engineAt(fake.socket);
    const got = await engine.start("c1");
    assert.ok(!got.ok && got.said.length <= 300);
  });

  void test("a kept connection that an engine's restart ended is no trouble for a question", async () => {
    const seen = { sockets: new Set<unknown>() };
    await using fake = await fakeEngine((request, response) => {
      if (seen.sockets.has(request.socket)) return void request.socket.destroy();
      seen.sockets.add(request.socket);
      return json(response, 200, { Version: "1" });
    });
    using engine = engineAt(fake.socket);
    assert.ok((await engine.version()).ok);
    assert.ok((await engine.version()).ok);
    assert.equal(seen.sockets.size, 2);
  });

  void test("closing it breaks what is under way", async () => {
    await using fake = await fakeEngine(() => {});
    const client = new EngineClient(fake.socket);
    const asking = client.ask({ method: "GET", path: "/version" });
    client[Symbol.dispose]();
    assert.equal((await asking).ok, false);
  });
});

void describe("images are poured into an engine", () => {
  void test("a load that fails half-way answers 200 and says so in its stream", async () => {
    await using fake = await fakeEngine((request, response) => {
      request
        .resume()
        .on("end", () => response.writeHead(200).end('{"stream":"a"}\n{"error":"no space left on device"}\n'));
    });
    using engine = engineAt(fake.socket);
    const got = await engine.load(bytes("archive"), signal);
    assert.deepEqual(got.ok ? "ok" : got.problem, "refused");
    assert.ok(!got.ok && got.said.includes("no space left"));
  });

  void test("a source that fails breaks the request off, and its own error passes", async () => {
    const seen: { whole?: boolean } = {};
    await using fake = await fakeEngine((request) => {
      request.resume().on("end", () => (seen.whole = true));
      request.on("error", () => {});
    });
    using engine = engineAt(fake.socket);
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* bytes("half of it");
      throw new Error("the blob is damaged");
    }
    await assert.rejects(engine.load(broken(), signal), /the blob is damaged/);
    assert.equal(seen.whole, undefined, "the engine never sees the end of a damaged archive");
  });

  void test("an engine that refuses before it has read everything is heard", async () => {
    await using fake = await fakeEngine((request, response) => {
      request.resume();
      json(response, 500, { message: "read-only storage" });
    });
    using engine = engineAt(fake.socket);
    const got = await engine.load(bytes("archive"), signal);
    assert.equal(got.ok ? "ok" : got.problem, "refused");
  });
});

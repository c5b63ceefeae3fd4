import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { test } from "node:test";
import { BodyTooLarge, readBody, systemHttp } from "./http.ts";

async function withServer(answer: RequestListener, work: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    await work(`http://127.0.0.1:${address.port}`);
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

const signal = () => AbortSignal.timeout(10_000);

void test("method, headers and body arrive; status, headers in lower case and body come back", async () => {
  await withServer(
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        response.writeHead(418, { "X-Seen": String(request.headers["x-sent"]) });
        response.end(`${request.method} ${Buffer.concat(chunks).toString()}`);
      });
    },
    async (url) => {
      const answer = await systemHttp()({
        method: "PUT",
        url,
        headers: { "x-sent": "yes" },
        body: Buffer.from("body"),
        signal: signal(),
      });
      assert.equal(answer.status, 418);
      assert.equal(answer.headers.get("x-seen"), "yes");
      assert.equal(Buffer.from(await readBody(answer.body, 100)).toString(), "PUT body");
    },
  );
});

void test("H26: a redirect is an answer like any other and is not followed", async () => {
  let requests = 0;
  await withServer(
    (_, response) => {
      requests += 1;
      response.writeHead(302, { location: "/elsewhere" }).end();
    },
    async (url) => {
      const answer = await systemHttp()({ method: "GET", url, signal: signal() });
      assert.equal(answer.status, 302);
      assert.equal(answer.headers.get("location"), "/elsewhere");
      await readBody(answer.body, 100);
      assert.equal(requests, 1);
    },
  );
});

void test("endless data is cut off at the limit", async () => {
  await withServer(
    (_, response) => {
      const pour = () => {
        while (response.write(Buffer.alloc(65_536)));
      };
      response.on("drain", pour);
      pour();
    },
    async (url) => {
      const answer = await systemHttp()({ method: "GET", url, signal: signal() });
      await assert.rejects(readBody(answer.body, 1_000_000), BodyTooLarge);
    },
  );
});

void test("exactly the limit is no error, an empty body is empty", async () => {
  async function* chunks(...sizes: number[]) {
    for (const size of sizes) yield new Uint8Array(size).fill(1);
  }
  assert.equal((await readBody(chunks(3, 4), 7)).byteLength, 7);
  await assert.rejects(readBody(chunks(3, 5), 7), BodyTooLarge);
  assert.equal((await readBody(chunks(), 0)).byteLength, 0);
});

void test("no answer rejects: refused, aborted, cut off in the middle", async () => {
  await withServer(
    (request, response) => {
      if (request.url === "/cut") {
        response.writeHead(200, { "content-length": "100" });
        response.write("half", () => response.destroy());
      }
    },
    async (url) => {
      const abort = new AbortController();
      const hanging = systemHttp()({ method: "GET", url: `${url}/hang`, signal: abort.signal });
      abort.abort();
      await assert.rejects(hanging);
      const cut = await systemHttp()({ method: "GET", url: `${url}/cut`, signal: signal() });
      await assert.rejects(readBody(cut.body, 1000));
    },
  );
  let closed = "";
  await withServer(
    () => {},
    async (url) => {
      closed = url;
    },
  );
  await assert.rejects(systemHttp()({ method: "GET", url: closed, signal: signal() }));
});

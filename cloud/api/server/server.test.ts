import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { jsonLogger } from "@muto/kit/logger";
import { ERRORS, OPERATIONS } from "@muto/spec";
import { createValidation } from "@muto/spec/validation";
import { signEnrolment } from "@muto/trust/documents";
import { generateKey } from "@muto/trust/keys";
import { handlers } from "../handlers.ts";
import { buildServer } from "./server.ts";
import { OPERATOR, START_MS, TENANT, TestApi, VIEWER } from "./test-api.ts";
import type { Answer, JsonAnswer } from "./test-api.ts";

describe("the HTTP server", () => {
  let api: TestApi;
  const lines: string[] = [];
  const validation = createValidation();

  before(async () => {
    api = await TestApi.start({
      logger: jsonLogger({ write: (line) => lines.push(line), level: "debug", clock: { wallMs: () => START_MS } }),
    });
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
  });

  /** Every refusal is the one envelope, with a code of the contract and the status that goes with it. */
  const isRefusal = (answer: Answer, code: keyof typeof ERRORS) => {
    assert.equal(answer.body?.error?.code, code, answer.text);
    assert.equal(answer.status, ERRORS[code].status);
    const parsed = validation.parse("ErrorBody", answer.body);
    assert.ok(parsed.ok, JSON.stringify(parsed));
    assert.equal(answer.body.error.details.requestId, answer.headers["x-request-id"]);
    assert.doesNotMatch(answer.text, /node_modules|\.ts:|at [A-Z]\w+ \(/);
  };

  describe("refuses in one envelope", () => {
    for (const [situation, method, url, options, code] of [
      ["an unknown path", "GET", "/api/v1/nothing", {}, "NOT_FOUND"],
      ["an unknown path outside", "GET", "/elsewhere", { outside: true }, "NOT_FOUND"],
      ["a method that the path does not have", "DELETE", "/api/v1/releases", {}, "METHOD_NOT_ALLOWED"],
      ["a path that cannot be decoded", "GET", "/api/v1/vehicles/%E0%A4%A", {}, "PATH_INVALID"],
      ["a vehicle id that is none", "GET", "/api/v1/vehicles/UPPER", {}, "PATH_INVALID"],
      [
        "a body that is no JSON",
        "POST",
        "/api/v1/vehicles",
        { body: "{", headers: { "content-type": "application/json" } },
        "BODY_INVALID",
      ],
      ["a missing body", "POST", "/api/v1/vehicles", {}, "BODY_INVALID"],
      [
        "an empty body",
        "POST",
        "/api/v1/vehicles",
        { body: "", headers: { "content-type": "application/json" } },
        "BODY_INVALID",
      ],
      ["a body against the schema", "POST", "/api/v1/vehicles", { body: { id: 7 } }, "BODY_INVALID"],
      [
        "numbers where text is meant",
        "POST",
        "/api/v1/vehicles",
        { body: { id: "v1", tags: { ring: 1 } } },
        "BODY_INVALID",
      ],
      [
        "a body that is nested too deep",
        "POST",
        "/api/v1/vehicles",
        { body: `${"[".repeat(40)}${"]".repeat(40)}`, headers: { "content-type": "application/json" } },
        "BODY_INVALID",
      ],
      [
        "a prototype key",
        "POST",
        "/api/v1/vehicles",
        { body: '{"id":"v1","__proto__":{"x":1}}', headers: { "content-type": "application/json" } },
        "BODY_INVALID",
      ],
      [
        "a body that is too large",
        "POST",
        "/api/v1/vehicles",
        { body: { id: "v1", more: "x".repeat(70_000) } },
        "BODY_TOO_LARGE",
      ],
      [
        "another media type",
        "POST",
        "/api/v1/vehicles",
        { body: "<v/>", headers: { "content-type": "application/xml" } },
        "MEDIA_TYPE_UNSUPPORTED",
      ],
      [
        "bytes where JSON is meant",
        "POST",
        "/api/v1/vehicles",
        { body: "x", headers: { "content-type": "application/octet-stream" } },
        "MEDIA_TYPE_UNSUPPORTED",
      ],
      [
        "an unreadable Idempotency-Key",
        "POST",
        "/api/v1/vehicles",
        { body: { id: "v1" }, headers: { "idempotency-key": "x".repeat(200) } },
        "HEADER_INVALID",
      ],
      ["no token", "GET", "/api/v1/vehicles", { token: null }, "UNAUTHENTICATED"],
      ["an unknown token", "GET", "/api/v1/vehicles", { token: "guess" }, "UNAUTHENTICATED"],
      [
        "another scheme",
        "GET",
        "/api/v1/vehicles",
        { token: null, headers: { authorization: "Basic YTpi" } },
        "UNAUTHENTICATED",
      ],
      ["an endless token", "GET", "/api/v1/vehicles", { token: "x".repeat(9000) }, "UNAUTHENTICATED"],
    ] as const) {
      it(situation, async () => {
        isRefusal(await api.ask(method, url, options), code);
      });
    }

    it("names what is wrong, where, and how large it may be", async () => {
      const wrong = await api.ask("POST", "/vehicles", { body: { id: "v1", tags: { status: "x" } } });
      assert.ok(wrong.body.error.details.problems[0].path.startsWith("/tags"));
      const large = await api.ask("POST", "/vehicles", { body: { more: "x".repeat(70_000) } });
      assert.equal(large.body.error.details.bytesMax, 65_536);
      const method = await api.ask("DELETE", "/releases");
      assert.equal(method.headers["allow"], "POST, GET");
    });

    it("bytes that are no HTTP request at all", async () => {
      await api.app.listen({ host: "127.0.0.1", port: 0 });
      const address = api.app.server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const text = await new Promise<string>((resolve, reject) => {
        let heard = "";
        const socket = connect(port, "127.0.0.1", () => socket.write("\u0016\u0003\u0001 not http\r\n\r\n"));
        socket.on("data", (chunk) => (heard += String(chunk)));
        socket.on("close", () => resolve(heard));
        socket.on("error", reject);
      });
      assert.match(text, /^HTTP\/1\.1 400 /);
      const body: unknown = JSON.parse(text.split("\r\n\r\n")[1] ?? "");
      assert.ok(validation.parse("ErrorBody", body).ok);
    });
  });

  describe("lets in only whom the contract names", () => {
    const sample = (path: string) =>
      path
        .replace("{id}", path.includes("rollouts") ? "ro_01ARZ3NDEKTSV4RRFFQ69G5FAV" : "gate-1")
        .replace("{stack}/{version}", "autonomy/1.0.0")
        .replace("{revision}", "dsr_01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .replace("{digest}", `sha256:${"0".repeat(64)}`)
        .replace("{n}", "1");
    for (const route of Object.values(OPERATIONS)) {
      const allowed: readonly string[] = route.principals;
      if (allowed.includes("anonymous")) continue;
      it(`${route.operationId}: ${allowed.join(", ")}`, async () => {
        const vehicle = await api.enrolled(`gate-${route.operationId.toLowerCase()}`);
        const tokens = { operator: OPERATOR, viewer: VIEWER, vehicle: await vehicle.token() };
        isRefusal(await api.ask(route.method, sample(route.path), { token: null }), "UNAUTHENTICATED");
        for (const [kind, token] of Object.entries(tokens)) {
          if (allowed.includes(kind)) continue;
          isRefusal(await api.ask(route.method, sample(route.path), { token }), "FORBIDDEN");
        }
      });
    }
  });

  describe("answers a repeated Idempotency-Key with the first answer", () => {
    const post = async (key: string, body: JsonAnswer, token = OPERATOR) =>
      await api.ask("POST", "/vehicles", { body, token, headers: { "idempotency-key": key } });

    it("whatever the order of the fields, and refuses another body", async () => {
      const first = await post("same", { id: "once-1", tags: { a: "1", b: "2" } });
      api.pass(5_000);
      const again = await post("same", { tags: { b: "2", a: "1" }, id: "once-1" });
      assert.deepEqual([again.status, again.text], [201, first.text]);
      assert.equal(again.headers["location"], "/api/v1/vehicles/once-1");
      isRefusal(await post("same", { id: "once-2" }), "CONFLICT_IDEMPOTENCY_KEY");
      isRefusal(
        await api.ask("POST", "/vehicles/once-1/include", { headers: { "idempotency-key": "same" } }),
        "CONFLICT_IDEMPOTENCY_KEY",
      );
    });

    it("does the work once when two come at the same time", async () => {
      const answers = await Promise.all(Array.from({ length: 4 }, () => post("together", { id: "once-3" })));
      assert.equal(answers.filter(({ status }) => status === 201).length >= 1, true);
      for (const answer of answers) assert.ok([201, 409].includes(answer.status));
      const audit = await api.ask("GET", "/audit-log?action=vehicle.created&limit=200");
      assert.equal(audit.body.data.filter(({ subject }: JsonAnswer) => subject.id === "once-3").length, 1);
    });

    it("forgets a refused request, because it has changed nothing", async () => {
      const url = "/vehicles/once-4/exclude";
      const headers = { "idempotency-key": "later" };
      isRefusal(await api.ask("POST", url, { body: { reason: "x" }, headers }), "NOT_FOUND");
      await api.ask("POST", "/vehicles", { body: { id: "once-4" } });
      assert.equal((await api.ask("POST", url, { body: { reason: "x" }, headers })).status, 200);
    });

    it("takes over from a request whose process died before it answered", async () => {
      const abandoned = { principal: "operator:alice", key: "abandoned", request_hash: "", created_at: api.now() };
      await post("abandoned", { id: "once-5" });
      const kept = await api.database.db
        .updateTable("idempotency_keys")
        .set({ status: null, headers: null, body: null })
        .where("key", "=", "abandoned")
        .returning("request_hash")
        .executeTakeFirstOrThrow();
      assert.notEqual(kept.request_hash, abandoned.request_hash);
      isRefusal(await post("abandoned", { id: "once-5" }), "CONFLICT_IDEMPOTENCY_KEY");
      api.pass(61_000);
      assert.equal((await post("abandoned", { id: "once-5" })).status, 200);
    });
  });

  describe("answers hostile input with a code, never with a crash", () => {
    const hostile = fc.oneof(
      fc.jsonValue({ maxDepth: 4 }),
      fc.dictionary(
        fc.constantFrom(
          "id",
          "tags",
          "target",
          "stack",
          "policy",
          "keyid",
          "reason",
          "comment",
          "payload",
          "payloadType",
          "signatures",
          "kind",
          "at",
          "event",
          "status",
          "settings",
        ),
        fc.oneof(
          fc.jsonValue({ maxDepth: 2 }),
          fc.string({ unit: "binary", maxLength: 200 }),
          fc.constantFrom("__proto__", "\u0000", "'; drop table vehicles; --", "9".repeat(400)),
        ),
      ),
    );
    for (const route of Object.values(OPERATIONS)) {
      if (route.body?.mediaType !== "application/json") continue;
      it(`as the body of ${route.operationId}`, async () => {
        const vehicle = await api.enrolled(`hostile-${route.operationId.toLowerCase()}`);
        const principals: readonly string[] = route.principals;
        const token = principals.includes("operator") ? OPERATOR : await vehicle.token();
        const url = route.path.replace("{id}", vehicle.id).replace("{stack}/{version}", "a/1");
        await fc.assert(
          fc.asyncProperty(hostile, async (value) => {
            const answer = await api.ask(route.method, url, {
              token,
              body: JSON.stringify(value),
              headers: { "content-type": "application/json" },
            });
            assert.ok(answer.status < 500, `${route.operationId}: ${answer.text}`);
            if (answer.status >= 400) assert.ok(validation.parse("ErrorBody", answer.body).ok, answer.text);
          }),
          { numRuns: 12 },
        );
      });
    }

    it("as any query, header or path", async () => {
      const text = fc.string({ unit: "binary", maxLength: 120 });
      await fc.assert(
        fc.asyncProperty(text, text, text, async (path, query, header) => {
          const url = `/api/v1/vehicles/${encodeURIComponent(path)}?selector=${encodeURIComponent(query)}&limit=${encodeURIComponent(header)}`;
          const printable = header.replaceAll(/[^ -~]/g, "");
          const answer = await api.ask("GET", url, {
            headers: { "if-none-match": printable, "x-request-id": printable },
          });
          assert.ok(answer.status < 500, answer.text);
          const list = await api.ask("GET", `/vehicles?selector=${encodeURIComponent(query)}`);
          assert.ok([200, 400].includes(list.status), list.text);
        }),
        { numRuns: 60 },
      );
    });
  });

  it("gives every answer a request id, its own or the caller's, and our time", async () => {
    const own = await api.ask("GET", "/healthz", { outside: true });
    assert.match(String(own.headers["x-request-id"]), /^[0-9A-Z]{26}$/);
    assert.equal(Date.parse(String(own.headers["date"])), Date.parse(api.now()));
    const given = await api.ask("GET", "/healthz", { outside: true, headers: { "x-request-id": "trace-42.a" } });
    assert.equal(given.headers["x-request-id"], "trace-42.a");
    const odd = await api.ask("GET", "/healthz", { outside: true, headers: { "x-request-id": "a b\u007f" } });
    assert.notEqual(odd.headers["x-request-id"], "a b\u007f");
  });

  it("never logs a secret: tokens, claims, keys", async () => {
    await api.ask("POST", "/vehicles", { body: { id: "secret-1" } });
    const claim: string = (await api.ask("POST", "/vehicles/secret-1/claims", { body: {} })).body.data.claim;
    const { signer, privatePem } = await generateKey("ed25519");
    const enrolment = {
      kind: "muto.enrolment/v1",
      tenant: TENANT,
      vehicleId: "secret-1",
      publicKey: signer.publicKey.pem,
      claim,
      installId: api.newId(),
      at: api.now(),
    } as const;
    await api.ask("POST", "/enroll", { token: null, body: await signEnrolment(enrolment, signer) });
    await api.ask("POST", "/enroll", {
      token: null,
      body: await signEnrolment({ ...enrolment, vehicleId: "nobody" }, signer),
    });
    const vehicle = await api.enrolled("secret-2");
    const token = await vehicle.token();
    await api.ask("GET", "/desired-states/latest?vehicleId=secret-2", { token });
    await api.ask("GET", "/desired-states/latest?vehicleId=secret-1", { token: `${token}x` });
    const log = lines.join("");
    assert.ok(log.includes("request answered") && log.includes("enrolment refused"));
    for (const secret of [OPERATOR, VIEWER, claim, token, privatePem.split("\n")[1] ?? privatePem]) {
      assert.equal(log.includes(secret), false);
    }
  });
});

describe("the rate limit", () => {
  it("stops a flood of one caller, says when to come back, and leaves the others alone", async () => {
    const slow = { burst: 3, perSec: 0.5 };
    const api = await TestApi.start({
      rates: { vehicle: slow, person: { burst: 1000, perSec: 1000 }, stranger: slow },
    });
    try {
      const [one, two] = [await api.enrolled("flood-1"), await api.enrolled("flood-2")];
      const statuses: number[] = [];
      for (let index = 0; index < 4; index++) statuses.push((await one.poll()).status);
      assert.deepEqual(statuses, [200, 200, 200, 429]);
      const limited = await one.poll();
      assert.equal(limited.body.error.code, "RATE_LIMITED");
      assert.equal(limited.headers["retry-after"], "2");
      assert.equal((await two.poll()).status, 200);
      for (let index = 0; index < 3; index++) await api.ask("GET", "/vehicles", { token: `guess-${index}` });
      assert.equal((await api.ask("GET", "/vehicles", { token: "guess-4" })).status, 429, "guessing tokens is slow");
      assert.equal((await api.ask("GET", "/vehicles")).status, 200);
      assert.equal((await api.ask("GET", "/healthz", { token: null, outside: true })).status, 200);
    } finally {
      await api[Symbol.asyncDispose]();
    }
  });
});

describe("the start", () => {
  it("fails when an operation has no handler, or a handler no operation", async () => {
    const api = await TestApi.start();
    try {
      const vehicleAuth = { authenticate: () => Promise.resolve({ ok: false as const, problem: "unknown" as const }) };
      const { getDocs: _docs, ...missing } = handlers;
      const build = (some: JsonAnswer) => buildServer({ context: api.context, handlers: some, vehicleAuth });
      assert.throws(() => build(missing), /getDocs has no handler/);
      assert.throws(
        () => build({ ...handlers, runCommand: handlers.getDocs }),
        /without an operation in the contract: runCommand/,
      );
    } finally {
      await api[Symbol.asyncDispose]();
    }
  });
});

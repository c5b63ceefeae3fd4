import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonLogger } from "./logger.ts";
import type { LogData, LogLevel } from "./logger.ts";

const clock = { wallMs: () => Date.UTC(2026, 10, 23) };

function logged(data: LogData, options: { readonly level?: LogLevel; readonly redact?: readonly string[] } = {}) {
  const lines: string[] = [];
  const logger = jsonLogger({ write: (line) => lines.push(line), level: "debug", clock, ...options });
  logger.info("something happened", data);
  return lines.join("");
}

void test("a message is one line of JSON with time, level, message and data", () => {
  const line = logged({ vehicleId: "v-1", attempts: 3, text: "two\nlines" });
  assert.equal(line.indexOf("\n"), line.length - 1);
  assert.deepEqual(JSON.parse(line), {
    at: "2026-11-23T00:00:00.000Z",
    level: "info",
    message: "something happened",
    vehicleId: "v-1",
    attempts: 3,
    text: "two\nlines",
  });
});

void test("data cannot take the place of time, level or message", () => {
  const line: unknown = JSON.parse(logged({ level: "error", message: "forged", at: "1970" }));
  assert.deepEqual(line, { at: "2026-11-23T00:00:00.000Z", level: "info", message: "something happened" });
});

void test("below the level nothing is written", () => {
  const lines: string[] = [];
  const logger = jsonLogger({ write: (line) => lines.push(line), level: "warn", clock });
  logger.debug("a");
  logger.info("b");
  logger.warn("c");
  logger.error("d");
  assert.deepEqual(
    lines.map((line) => /"message":"(.)"/.exec(line)?.[1]),
    ["c", "d"],
  );
});

void test("what sounds like a secret is not written, at any depth, under any spelling", () => {
  const secret = "hunter2-do-not-print";
  const keys = [
    "token",
    "accessToken",
    "AUTHORIZATION",
    "x-api-key",
    "private_key",
    "clientSecret",
    "claimFile",
    "Set-Cookie",
    "dbPassword",
  ];
  for (const key of keys) {
    assert.ok(!logged({ [key]: secret }).includes(secret), key);
    assert.ok(!logged({ deep: [{ er: { [key]: { nested: secret } } }] }).includes(secret), key);
    assert.ok(!logged({ headers: new Map([[key, secret]]) }).includes(secret), key);
    assert.ok(!logged({ error: Object.assign(new Error("x"), { [key]: secret }) }).includes(secret), key);
  }
  assert.ok(!logged({ pin: secret }, { redact: ["PIN"] }).includes(secret));
  assert.match(logged({ hasToken: true, token: null }), /"hasToken":true,"token":null/);
});

void test("what looks like a secret inside a text is not written", () => {
  const secret = "c2VjcmV0LWJ5dGVz";
  const texts = [
    `Authorization failed: Bearer ${secret}`,
    `basic ${secret}`,
    `postgres://muto:${secret}@db/muto`,
    `https://host/path?a=1&access_token=${secret}&b=2`,
    `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`,
    `-----BEGIN EC PRIVATE KEY-----\n${secret}`,
  ];
  for (const text of texts) {
    assert.ok(!logged({ text }).includes(secret), text);
    assert.ok(!logged({ error: new Error("outer", { cause: new Error(text) }) }).includes(secret), text);
  }
  assert.match(logged({ text: texts[3] }), /host\/path\?a=1&access_token=\[redacted\]&b=2/);
});

void test("bytes are counted, not written; long and deep data is cut", () => {
  assert.match(logged({ payload: Buffer.from("payload") }), /"payload":"\[7 bytes\]"/);
  assert.ok(logged({ text: "x".repeat(1_000_000) }).length < 5_000);
  assert.ok(logged({ list: Array.from({ length: 100_000 }, (_, index) => index) }).length < 5_000);
  let deep: unknown = "bottom";
  for (let level = 0; level < 10_000; level++) deep = { deep };
  assert.match(logged({ deep }), /\[deeper\]/);
});

void test("errors say their name, code, message and cause", () => {
  const error = Object.assign(new Error("outer", { cause: new TypeError("inner") }), { code: "EIO" });
  const line = logged({ error });
  assert.match(line, /"name":"Error","message":"outer","cause":\{"name":"TypeError","message":"inner"/);
  assert.match(line, /"code":"EIO"/);
});

void test("it never throws, whatever it is given", () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  const hostile = {
    get trap(): string {
      throw new Error("do not look");
    },
  };
  for (const data of [
    circle,
    hostile,
    { big: 10n, never: undefined, not: Number.NaN, at: new Date(Number.NaN), f: () => 1 },
  ]) {
    const line: unknown = JSON.parse(logged(data));
    assert.ok(typeof line === "object");
  }
  const logger = jsonLogger({
    write: () => {
      throw new Error("the disk is full");
    },
    level: "debug",
    clock,
  });
  logger.error("said into the void", { a: 1 });
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string(),
        fc.anything({ withDate: true, withMap: true, withBigInt: true, withNullPrototype: true }),
      ),
      (data) => {
        const line = logged(data);
        assert.equal(line.split("\n").length, 2);
        JSON.parse(line);
      },
    ),
  );
});

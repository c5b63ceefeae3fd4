import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fieldOf } from "./field.ts";
import { readMessage, type FromServer } from "./protocol.ts";

function text(content: string, isWhole = true): FromServer {
  return readMessage({ kind: "text", bytes: Buffer.from(content), isWhole });
}

test("protocol: what a server says", () => {
  assert.deepEqual(text('{"op":"publish","topic":"/a","msg":{"data":1}}'), {
    op: "publish",
    topic: "/a",
    message: { kind: "read", content: { data: 1 } },
  });
  assert.deepEqual(text('{"op":"service_response","id":"call:1","result":true,"values":{"x":1}}'), {
    op: "service_response",
    id: "call:1",
    result: true,
    values: { x: 1 },
  });
  assert.deepEqual(text('{"op":"status","level":"error","msg":"no"}'), { op: "other" });
});

test("protocol: a message that is too large, or broken, is one of its topic", () => {
  const head = '{"op": "publish", "topic": "/points", "msg": {"data": "AAAA';
  assert.deepEqual(text(head, false), { op: "publish", topic: "/points", message: { kind: "unread" } });
  assert.deepEqual(text(head), { op: "publish", topic: "/points", message: { kind: "malformed" } });
  assert.deepEqual(text('{"op": "service_response", "values": "', false), { op: "garbage" });
});

test("protocol: nothing makes it throw", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.boolean(),
      fc.constantFrom("text", "binary"),
      (bytes, isWhole, kind) => {
        readMessage({ kind, bytes, isWhole });
      },
    ),
    { seed: 13, numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (content) => {
      text(content);
    }),
    { seed: 14, numRuns: 300 },
  );
});

const message = { twist: { linear: { x: 1.5, y: null } }, status: [{ level: 2 }], data: "AQID", name: "n" };
const fields: readonly (readonly [string, unknown])[] = [
  ["twist.linear.x", 1.5],
  ["twist.linear.y", null],
  ["twist.linear.y.deeper", null],
  ["twist.linear.z", undefined],
  ["status[0].level", 2],
  ["status[1].level", undefined],
  ["data[2]", 3],
  ["data[3]", undefined],
  ["name.length", undefined],
  ["constructor", undefined],
  ["__proto__", undefined],
  ["twist[0]", undefined],
];
for (const [path, value] of fields) {
  test(`field: ${path}`, () => assert.equal(fieldOf(message, path), value));
}

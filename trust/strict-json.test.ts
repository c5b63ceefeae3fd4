import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseStrictJson } from "./strict-json.ts";

const BOUNDS = { bytesMax: 10_000, depthMax: 10 };

test("a key that appears twice is refused, however it is spelled", () => {
  const refused = [
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"x":{"a":1,"b":[{"c":1,"c":2}]}}',
    '{"a" :1,"b":"}","a"\n:2}',
    '{"a\\"b":1,"a\\"b":2}',
    "{",
    '{"__proto__":1}',
  ];
  for (const text of refused) assert.equal(parseStrictJson(text, BOUNDS), undefined, text);
});

test("the same name in different objects, or as a value, is no duplicate", () => {
  const accepted = [
    '{"a":{"a":"a"},"b":["a","a"],"c":"\\"a\\":1"}',
    '["{","}","a:"]',
    '{"\\\\":1,"\\\\\\\\":2}',
    '{"a":"{","b":"\\"a\\":"}',
  ];
  for (const text of accepted) assert.deepEqual(parseStrictJson(text, BOUNDS), JSON.parse(text), text);
});

test("whatever a program prints is read as it was", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const text = JSON.stringify(value);
      if (text.includes("__proto__")) return;
      assert.deepEqual(parseStrictJson(text, BOUNDS), JSON.parse(text));
    }),
  );
});

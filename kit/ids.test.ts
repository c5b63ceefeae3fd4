import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { systemClock } from "./clock.ts";
import { ulid, uuid } from "./ids.ts";
import { seededRandom } from "./random.ts";

const at = (wallMs: number) => ({ ...systemClock(), wallMs: () => wallMs });

void test("the time is where the ULID specification puts it", () => {
  assert.equal(ulid(at(1_469_918_176_385), seededRandom(1)).slice(0, 10), "01ARYZ6S41");
  assert.equal(ulid(at(0), seededRandom(1)).slice(0, 10), "0000000000");
  assert.equal(ulid(at(2 ** 48 - 1), seededRandom(1)).slice(0, 10), "7ZZZZZZZZZ");
});

void test("26 characters of the Crockford alphabet, sorted by time", () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 }), fc.nat({ max: 2 ** 31 }), fc.integer(), (one, other, seed) => {
      const random = seededRandom(seed);
      const [first, second] = [ulid(at(one), random), ulid(at(other), random)];
      assert.match(first, /^[0-9A-HJKMNP-TV-Z]{26}$/);
      if (one < other) assert.ok(first < second);
    }),
  );
});

void test("the same instant gives different ids", () => {
  const random = seededRandom(5);
  const made = new Set(Array.from({ length: 1000 }, () => ulid(at(1), random)));
  assert.equal(made.size, 1000);
});

test("a UUID is of version 4 and of the random bytes given", () => {
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  fc.assert(fc.property(fc.nat(), (seed) => assert.match(uuid(seededRandom(seed)), form)));
  assert.equal(uuid(seededRandom(5)), uuid(seededRandom(5)));
  assert.notEqual(uuid(seededRandom(5)), uuid(seededRandom(6)));
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LIMITS } from "../limits.ts";
import type { FragmentSubmessage } from "../wire/read-message.ts";
import { FragmentAssembler } from "./fragments.ts";

const WRITER = "aa";

function fragment(over: Partial<FragmentSubmessage>): FragmentSubmessage {
  return {
    kind: "fragment",
    sequence: 1,
    first: 1,
    count: 1,
    fragmentBytes: 1_000,
    sampleBytes: 2_500,
    payload: new Uint8Array(1_000),
    sourceTimestampMs: undefined,
    ...over,
  };
}

function open() {
  const counters = { lost: 0 };
  return { assembler: new FragmentAssembler(counters), counters };
}

describe("fragments", () => {
  test("in any order, alone or several at once, with repetitions, they give the sample", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 600, maxLength: 5_000 }),
        fc.integer({ min: LIMITS.fragmentBytesMin, max: 900 }),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 4 })), { maxLength: 20 }),
        (sample, fragmentBytes, picks) => {
          const { assembler } = open();
          const total = Math.ceil(sample.length / fragmentBytes);
          const one = (first: number, count: number) =>
            assembler.add(
              WRITER,
              fragment({
                first,
                count,
                fragmentBytes,
                sampleBytes: sample.length,
                payload: sample.subarray((first - 1) * fragmentBytes, (first - 1 + count) * fragmentBytes),
                sourceTimestampMs: first === 1 ? 5 : undefined,
              }),
              0,
            );
          const order = [
            ...picks.map(([pick, count]) => [(pick % total) + 1, count] as const),
            ...Array.from({ length: total }, (_, index) => [total - index, 1] as const),
          ];
          for (const [first, count] of order) {
            const done = one(first, Math.min(count, total - first + 1));
            if (done.kind !== "complete") continue;
            assert.deepEqual(done.payload, sample);
            assert.equal(done.sourceTimestampMs, 5);
            assert.equal(assembler.bytes, 0);
            return;
          }
          assert.fail("never complete");
        },
      ),
      { numRuns: 50 },
    );
  });

  const contradictions: readonly (readonly [string, Partial<FragmentSubmessage>, string])[] = [
    ["beyond the end of the sample", { first: 4 }, "malformed"],
    ["more fragments than bytes", { count: 2 }, "malformed"],
    ["a sample of nothing", { sampleBytes: 0 }, "malformed"],
    ["a sample above the limit", { sampleBytes: LIMITS.sampleBytesMax + 1 }, "refused"],
    ["fragments too small to be real", { fragmentBytes: 1, sampleBytes: 1_000 }, "refused"],
  ];
  for (const [name, over, kind] of contradictions)
    test(`${name}: ${kind}, and nothing is kept`, () => {
      const { assembler } = open();
      assert.equal(assembler.add(WRITER, fragment(over), 0).kind, kind);
      assert.equal(assembler.bytes, 0);
    });

  test("a fragment that contradicts the earlier ones is malformed", () => {
    const { assembler } = open();
    assembler.add(WRITER, fragment({}), 0);
    assert.equal(assembler.add(WRITER, fragment({ first: 2, sampleBytes: 2_600 }), 0).kind, "malformed");
  });

  test("says what is missing, at most 256 at once", () => {
    const { assembler } = open();
    assembler.add(WRITER, fragment({ first: 2 }), 0);
    assembler.add(WRITER, fragment({ sequence: 2, sampleBytes: 1_000_000 }), 0);
    const [one, two] = assembler.missing(WRITER);
    assert.deepEqual(one, { sequence: 1, set: { base: 1, members: [1, 3] } });
    assert.equal(two?.set.members.length, 256);
    assert.equal(two?.set.base, 2);
  });

  test("a writer displaces only its own, and time ends what stands still", () => {
    const { assembler, counters } = open();
    assembler.add("other", fragment({}), 0);
    for (let sequence = 1; sequence <= 10; sequence++) assembler.add(WRITER, fragment({ sequence }), 0);
    assert.equal(assembler.missing(WRITER).length, LIMITS.assembliesPerWriterMax);
    assert.equal(assembler.missing("other").length, 1);
    assert.equal(counters.lost, 10 - LIMITS.assembliesPerWriterMax);
    assembler.expire(LIMITS.assemblyMsMax + 1);
    assert.equal(assembler.bytes, 0);
  });

  test("memory stays within its limits whatever is begun", () => {
    const { assembler } = open();
    for (let index = 0; index < 2_000; index++) {
      const payload = new Uint8Array(60_000);
      const size = { fragmentBytes: 60_000, sampleBytes: LIMITS.sampleBytesMax, payload };
      assembler.add(`writer ${index % 300}`, fragment({ sequence: index + 1, first: (index % 9) + 1, ...size }), 0);
      assert.ok(assembler.bytes <= LIMITS.assemblyBytesMax);
    }
  });
});

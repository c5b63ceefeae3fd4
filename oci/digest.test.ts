import assert from "node:assert/strict";
import { test } from "node:test";
import { readBody } from "@muto/kit/http";
import fc from "fast-check";
import { ContentError, createDigester, digestHex, digestOf, isDigest, verified } from "./digest.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

async function* streamOf(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

const collect = (source: AsyncIterable<Uint8Array>) => readBody(source, 1_000_000);

test("the digest of nothing is the well-known one", () => {
  assert.equal(digestOf(new Uint8Array()), EMPTY);
  assert.equal(createDigester().digest(), EMPTY);
});

test("only sha256 with 64 lower-case hex digits is a digest", () => {
  assert.equal(isDigest(EMPTY), true);
  for (const wrong of [
    "",
    EMPTY.toUpperCase(),
    EMPTY.slice(0, -1),
    `${EMPTY}0`,
    `${EMPTY}\n`,
    EMPTY.replace("sha256", "sha512"),
    `../${EMPTY}`,
  ]) {
    assert.equal(isDigest(wrong), false, wrong);
    assert.throws(() => digestHex(wrong));
  }
});

test("a stream in any pieces verifies as the whole, and resumes after any prefix", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), fc.nat(8), async (chunks, cut) => {
      const whole = new Uint8Array(Buffer.concat(chunks));
      const expected = { digest: digestOf(whole), sizeBytes: whole.byteLength };
      assert.deepEqual(await collect(verified(streamOf(...chunks), expected)), whole);

      const digester = createDigester();
      for (const chunk of chunks.slice(0, cut)) digester.update(chunk);
      await collect(verified(streamOf(...chunks.slice(cut)), expected, digester));
    }),
    { numRuns: 50 },
  );
});

test("wrong, short and endless content is refused (hostile registry, endless data)", async () => {
  const good = Buffer.from("the right bytes");
  const expected = { digest: digestOf(good), sizeBytes: good.byteLength };
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(4);
  }
  const situations = [
    { source: streamOf(Buffer.from("the wrong bytes")), problem: "digest-mismatch" },
    { source: streamOf(good.subarray(0, 3)), problem: "truncated" },
    { source: streamOf(), problem: "truncated" },
    { source: streamOf(good, Buffer.alloc(1)), problem: "too-large" },
    { source: endless(), problem: "too-large" },
  ];
  for (const { source, problem } of situations) {
    await assert.rejects(collect(verified(source, expected)), (error) => {
      assert.ok(error instanceof ContentError);
      assert.equal(error.problem, problem);
      return true;
    });
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { textOfFrames } from "./log-frames.ts";

const frame = (stream: number, text: string) => {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
};

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function read(bytes: Buffer, size: number): Promise<readonly string[]> {
  const texts: string[] = [];
  for await (const { stream, bytes: text } of textOfFrames(inPieces(bytes, size))) {
    texts.push(`${stream}:${Buffer.from(text).toString()}`);
  }
  return texts;
}

void test("frames are taken apart, however the connection cuts them", async () => {
  const texts = fc.array(fc.record({ stream: fc.constantFrom(1, 2), text: fc.string({ maxLength: 40 }) }));
  await fc.assert(
    fc.asyncProperty(texts, fc.integer({ min: 1, max: 30 }), async (written, size) => {
      const bytes = Buffer.concat(written.map(({ stream, text }) => frame(stream, text)));
      const expected = written.map(({ stream, text }) => `${stream === 2 ? "stderr" : "stdout"}:${text}`);
      assert.deepEqual(await read(bytes, size), expected);
    }),
  );
});

void test("what is no frame ends the reading, and nothing is made of it", async () => {
  assert.deepEqual(await read(Buffer.concat([frame(1, "good"), Buffer.from("HTTP/1.1 200 OK\r\n\r\n")]), 7), [
    "stdout:good",
  ]);
  const endless = Buffer.alloc(8, 0);
  endless.writeUInt32BE(0xffffffff, 4);
  assert.deepEqual(await read(endless, 8), []);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createFrameReader } from "./web-socket-frames.ts";
import type { WebSocketMessage } from "./web-socket.ts";

const BYTES_MAX = 1_000;

/** A frame as a server writes it. */
function frame(opcode: number, payload: Uint8Array, { isFinal = true }: { readonly isFinal?: boolean } = {}): Buffer {
  const { byteLength } = payload;
  const first = (isFinal ? 0x80 : 0) | opcode;
  if (byteLength < 126) return Buffer.concat([Buffer.of(first, byteLength), payload]);
  const header = Buffer.alloc(byteLength < 65_536 ? 4 : 10);
  header[0] = first;
  header[1] = byteLength < 65_536 ? 126 : 127;
  if (byteLength < 65_536) header.writeUInt16BE(byteLength, 2);
  else header.writeBigUInt64BE(BigInt(byteLength), 2);
  return Buffer.concat([header, payload]);
}

function reading() {
  const seen = { messages: Array.of<WebSocketMessage>(), pings: Array.of<number>(), closed: 0 };
  const reader = createFrameReader({
    messageBytesMax: BYTES_MAX,
    onMessage: (message) => seen.messages.push(message),
    onPing: ({ byteLength }) => seen.pings.push(byteLength),
    onClose: () => (seen.closed += 1),
  });
  return { reader, seen };
}

test("frames: cut anywhere, in pieces, with pings between, they are the same messages", () => {
  const message = fc.record({
    text: fc.string({ maxLength: 300 }),
    parts: fc.integer({ min: 1, max: 4 }),
    pings: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      (sent, cuts) => {
        const bytes = Buffer.concat(
          sent.flatMap(({ text, parts, pings }) => {
            const payload = Buffer.from(text);
            const size = Math.ceil(payload.byteLength / parts);
            return Array.from({ length: parts }, (_, index) => {
              const part = frame(index === 0 ? 1 : 0, payload.subarray(index * size, (index + 1) * size), {
                isFinal: index === parts - 1,
              });
              return pings ? Buffer.concat([part, frame(9, Buffer.from("?"))]) : part;
            });
          }),
        );
        const { reader, seen } = reading();
        let at = 0;
        for (const cut of cuts) {
          assert.ok(reader.read(bytes.subarray(at, at + cut)));
          at += cut;
          if (at >= bytes.byteLength) break;
        }
        assert.deepEqual(
          seen.messages.map((read) => [read.kind, read.isWhole, Buffer.from(read.bytes).toString()]),
          sent.map(({ text }) => ["text", true, Buffer.from(text).toString()]),
        );
        assert.equal(
          seen.pings.length,
          sent.reduce((sum, { parts, pings }) => sum + (pings ? parts : 0), 0),
        );
      },
    ),
    { seed: 11, numRuns: 200 },
  );
});

test("frames: of a message beyond the limit only the beginning is kept, and the next one is whole", () => {
  const { reader, seen } = reading();
  assert.ok(reader.read(frame(2, Buffer.alloc(500_000, 7))));
  assert.ok(reader.read(frame(1, Buffer.from("next"))));
  assert.deepEqual(
    seen.messages.map(({ kind, isWhole, bytes }) => [kind, isWhole, bytes.byteLength]),
    [
      ["binary", false, 1_024],
      ["text", true, 4],
    ],
  );
});

test("frames: a promise of exabytes is waited for without memory", () => {
  const { reader, seen } = reading();
  const header = Buffer.from([0x81, 127, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  assert.ok(reader.read(header));
  for (let count = 0; count < 100; count += 1) assert.ok(reader.read(Buffer.alloc(10_000)));
  assert.deepEqual(seen.messages, []);
});

const wrong: readonly (readonly [string, Uint8Array])[] = [
  ["a masked frame", new Uint8Array([0x81, 0x80, 1, 2, 3, 4])],
  ["a reserved bit", new Uint8Array([0xc1, 0])],
  ["an unknown kind of data", new Uint8Array([0x83, 0])],
  ["an unknown kind of control", new Uint8Array([0x8b, 0])],
  ["a ping in pieces", new Uint8Array([0x09, 0])],
  ["a ping of 126 bytes", frame(9, new Uint8Array(126))],
  ["a continuation of nothing", new Uint8Array([0x80, 0])],
  ["a second message before the first has ended", new Uint8Array([0x01, 0, 0x81, 0])],
  ["a length beyond all numbers", new Uint8Array([0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0])],
];
for (const [name, bytes] of wrong) {
  test(`frames: ${name} is refused`, () => assert.equal(reading().reader.read(bytes), false));
}

test("frames: no bytes make it throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      reading().reader.read(bytes);
    }),
    { seed: 12, numRuns: 500 },
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { packetLimit } from "./packet-limit.ts";

/** An MQTT packet with a body of so many bytes: kind and flags, length in groups of seven bits, body. */
function packet(bodyBytes: number): readonly number[] {
  const length: number[] = [];
  for (let rest = bodyBytes; ; rest = Math.floor(rest / 128)) {
    length.push((rest % 128) + (rest >= 128 ? 128 : 0));
    if (rest < 128) break;
  }
  return [0x30, ...length, ...Array.from({ length: bodyBytes }, () => 0xff)];
}

function isTooLarge(bytesMax: number, chunks: readonly Uint8Array[]): boolean {
  let said = false;
  const watch = packetLimit(bytesMax, () => {
    said = true;
  });
  for (const chunk of chunks) {
    if (said) break;
    watch(chunk);
  }
  return said;
}

test("packet limit: whatever the packets and however they are cut", () => {
  const sizes = fc.array(fc.constantFrom(0, 1, 127, 128, 200, 299, 300, 301, 20_000), { maxLength: 6 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 70 }), (bodies, step) => {
      const bytes = Uint8Array.from(bodies.flatMap(packet));
      const chunks = Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) =>
        bytes.subarray(index * step, (index + 1) * step),
      );
      assert.equal(
        isTooLarge(300, chunks),
        bodies.some((body) => body > 300),
      );
    }),
    { seed: 3, numRuns: 200 },
  );
});

test("packet limit: endless data: a claim is enough, the body need not come", () => {
  assert.equal(isTooLarge(300, [Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f)]), true);
});

test("packet limit: a length that never ends", () => {
  assert.equal(isTooLarge(300, [Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80)]), true);
});

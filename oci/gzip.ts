import type { Transform } from "node:stream";
import { createGunzip, createGzip } from "node:zlib";
import { pour } from "./pour.ts";

/** Compressed, the same bytes for the same content: Node.js writes no time and no name into the header. */
export async function* gzipped(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* through(source, createGzip());
}

/**
 * One gzip stream and nothing behind it: Node.js would ignore the rest of a piece, and the source would not be read to its end.
 * Throws what the decompression throws, and when bytes follow.
 */
export async function* gunzipped(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const stream = createGunzip();
  let fed = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      fed += chunk.byteLength;
      yield chunk;
    }
  }
  yield* through(counted(), stream);
  if (stream.bytesWritten !== fed) throw new Error("bytes follow the compressed data");
}

async function* through(source: AsyncIterable<Uint8Array>, stream: Transform): AsyncGenerator<Uint8Array> {
  const feeding = pour(source, stream, (wake) => {
    stream.on("drain", wake);
    stream.on("close", wake);
  });
  try {
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError("the compression gave no bytes");
      yield chunk;
    }
  } finally {
    stream.destroy();
    await feeding;
  }
}

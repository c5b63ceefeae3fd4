/**
 * Takes the frames of an engine's log stream apart: eight bytes of header (stream, three zeros, length), then the text. Docker
 * and Podman send it so for containers without a terminal; we make no others.
 */
export async function* textOfFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<LogText> {
  let waiting = Buffer.alloc(0);
  for await (const chunk of source) {
    waiting = waiting.byteLength === 0 ? Buffer.from(chunk) : Buffer.concat([waiting, chunk]);
    for (;;) {
      if (waiting.byteLength < HEADER_BYTES) break;
      const kind = waiting[0] ?? 0;
      const length = waiting.readUInt32BE(4);
      // Not what an engine sends: reading on would only produce noise.
      if (kind > 2 || length > FRAME_BYTES_MAX) return;
      if (waiting.byteLength < HEADER_BYTES + length) break;
      yield { stream: kind === 2 ? "stderr" : "stdout", bytes: waiting.subarray(HEADER_BYTES, HEADER_BYTES + length) };
      waiting = waiting.subarray(HEADER_BYTES + length);
    }
  }
}

export interface LogText {
  readonly stream: "stdout" | "stderr";
  readonly bytes: Uint8Array;
}

const HEADER_BYTES = 8;
const FRAME_BYTES_MAX = 4 * 1024 * 1024;

import { Duplex } from "node:stream";
import type { Socket } from "node:net";

/**
 * Stands between a socket and the embedded broker, which has no limit of its own: reads nothing but MQTT fixed headers
 * and cuts the connection at a packet that announces more than `packetBytesMax` (endless data, exhausted memory).
 */
export function guardPackets(socket: Socket, packetBytesMax: number, onOversized: () => void): Duplex {
  const meter = createMeter(packetBytesMax);
  const guarded = new Duplex({
    read: () => {
      socket.resume();
    },
    write: (chunk: Uint8Array, _encoding, done) => {
      if (socket.destroyed) done();
      else socket.write(chunk, () => done());
    },
    final: (done) => {
      socket.end(() => done());
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (!meter(chunk)) {
      onOversized();
      guarded.destroy();
    } else if (!guarded.push(chunk)) socket.pause();
  });
  socket.on("end", () => guarded.push(null));
  socket.on("error", () => guarded.destroy());
  socket.on("close", () => guarded.destroy());
  return guarded;
}

/** Feeds bytes through; false as soon as one packet's remaining length exceeds the limit or is malformed (MQTT 3.1.1, section 2.2.3). */
export function createMeter(packetBytesMax: number): (chunk: Uint8Array) => boolean {
  let bodyLeft = 0;
  let lengthBytes = -1;
  let length = 0;
  return (chunk) => {
    let index = 0;
    while (index < chunk.byteLength) {
      if (bodyLeft > 0) {
        const taken = Math.min(bodyLeft, chunk.byteLength - index);
        bodyLeft -= taken;
        index += taken;
        continue;
      }
      const byte = chunk[index++] ?? 0;
      if (lengthBytes === -1) {
        // The type and flags; the length follows in one to four bytes of seven bits.
        lengthBytes = 0;
        length = 0;
        continue;
      }
      length += (byte & 0x7f) * 128 ** lengthBytes;
      lengthBytes++;
      if (length > packetBytesMax || (lengthBytes === 4 && byte >= 0x80)) return false;
      if (byte < 0x80) {
        bodyLeft = length;
        lengthBytes = -1;
      }
    }
    return true;
  };
}

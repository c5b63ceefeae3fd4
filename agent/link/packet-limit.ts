/**
 * Watches the bytes of an MQTT connection and says when a packet claims to be larger than `bytesMax`, before its body
 * arrives, so that a hostile broker cannot fill the vehicle's memory (endless data). Reads fixed headers only.
 */
export function packetLimit(bytesMax: number, onTooLarge: () => void): (chunk: Uint8Array) => void {
  let toSkip = 0;
  let header: { shift: number; length: number } | undefined;
  return (chunk) => {
    let index = 0;
    while (index < chunk.byteLength) {
      if (toSkip > 0) {
        const skipped = Math.min(toSkip, chunk.byteLength - index);
        toSkip -= skipped;
        index += skipped;
        continue;
      }
      const byte = chunk[index] ?? 0;
      index += 1;
      if (header === undefined) {
        // The first byte is kind and flags; the length follows in up to four bytes, seven bits each, lowest first.
        header = { shift: 0, length: 0 };
        continue;
      }
      header = { shift: header.shift + 7, length: header.length + (byte & 0x7f) * 2 ** header.shift };
      if (header.length > bytesMax || header.shift > 28) return onTooLarge();
      if ((byte & 0x80) !== 0) continue;
      toSkip = header.length;
      header = undefined;
    }
  };
}

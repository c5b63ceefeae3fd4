import type { ByteReader, ByteWriter } from "./bytes.ts";

/** Numbers from `base` on, at most 256 of them, as ACKNACK, GAP and NACK_FRAG list them (OMG DDSI-RTPS 2.5, 9.4.2.6). */
export interface NumberSet {
  readonly base: number;
  /** Members, ascending. */
  readonly members: readonly number[];
}

export const SET_BITS_MAX = 256;

export function readSequenceSet(reader: ByteReader): NumberSet {
  return readBits(reader, reader.sequence());
}

export function readFragmentSet(reader: ByteReader): NumberSet {
  return readBits(reader, reader.u32());
}

export function writeSequenceSet(writer: ByteWriter, set: NumberSet): void {
  writeBits(writer.sequence(set.base), set);
}

export function writeFragmentSet(writer: ByteWriter, set: NumberSet): void {
  writeBits(writer.u32(set.base), set);
}

function readBits(reader: ByteReader, base: number): NumberSet {
  const bits = reader.u32();
  if (bits > SET_BITS_MAX) reader.failed = true;
  const members: number[] = [];
  for (let word = 0; word * 32 < bits && !reader.failed; word++) {
    const mask = reader.u32();
    for (let bit = 0; bit < 32 && word * 32 + bit < bits; bit++)
      if ((mask & (1 << (31 - bit))) !== 0) members.push(base + word * 32 + bit);
  }
  return { base, members };
}

/** Members beyond what one set can hold are left for the next. */
function writeBits(writer: ByteWriter, { base, members }: NumberSet): void {
  const offsets = members.map((member) => member - base).filter((offset) => offset >= 0 && offset < SET_BITS_MAX);
  const bits = (offsets.at(-1) ?? -1) + 1;
  writer.u32(bits);
  const words = new Uint32Array(Math.ceil(bits / 32));
  for (const offset of offsets) words[offset >> 5] = (words[offset >> 5] ?? 0) | (1 << (31 - (offset & 31)));
  for (const word of words) writer.u32(word);
}

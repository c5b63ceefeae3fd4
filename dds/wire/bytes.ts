/**
 * Reads numbers from bytes and never throws: beyond the end it gives zeros and `failed` is true from then on, so that a parser
 * checks once, when it is done.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;
  readonly #end: number;
  littleEndian: boolean;
  failed = false;

  constructor(bytes: Uint8Array, littleEndian: boolean, at = 0, end = bytes.byteLength) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
    this.#end = Math.min(end, bytes.byteLength);
    this.littleEndian = littleEndian;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    const at = this.skip(1);
    return this.failed ? 0 : this.#view.getUint8(at);
  }

  u16(): number {
    const at = this.skip(2);
    return this.failed ? 0 : this.#view.getUint16(at, this.littleEndian);
  }

  i32(): number {
    const at = this.skip(4);
    return this.failed ? 0 : this.#view.getInt32(at, this.littleEndian);
  }

  u32(): number {
    const at = this.skip(4);
    return this.failed ? 0 : this.#view.getUint32(at, this.littleEndian);
  }

  /** Entity ids are bytes, not numbers: the same in both byte orders. */
  entityId(): number {
    const at = this.skip(4);
    return this.failed ? 0 : this.#view.getUint32(at, false);
  }

  /** A sequence number; those that no writer reaches in an eternity fail. */
  sequence(): number {
    const high = this.i32();
    const low = this.u32();
    const value = high * 2 ** 32 + low;
    if (high < 0 || value > SEQUENCE_MAX) this.failed = true;
    return this.failed ? 0 : value;
  }

  /** A view, no copy. */
  take(length: number): Uint8Array {
    const at = this.skip(length);
    return this.failed ? EMPTY : this.bytes.subarray(at, at + length);
  }

  /** A reader over the bytes from here to `end`, or to the end of this one; this one does not move. */
  within(end: number): ByteReader {
    return new ByteReader(this.bytes, this.littleEndian, this.#at, Math.min(end, this.#end));
  }

  /** Moves on and returns where it was. */
  skip(length: number): number {
    const at = this.#at;
    if (length < 0 || length > this.left) {
      this.failed = true;
      this.#at = this.#end;
      return at;
    }
    this.#at += length;
    return at;
  }
}

/** Sequence numbers are 64 bits on the wire; at a million samples per second this one lasts for 140 years. */
const SEQUENCE_MAX = 2 ** 52;
const EMPTY = new Uint8Array(0);

/** Writes numbers into bytes that grow as needed; what is written is ours and small. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  readonly littleEndian: boolean;

  constructor(littleEndian = true) {
    this.#bytes = new Uint8Array(256);
    this.#view = new DataView(this.#bytes.buffer);
    this.littleEndian = littleEndian;
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, this.littleEndian);
    return this;
  }

  i32(value: number): this {
    const at = this.#grow(4);
    this.#view.setInt32(at, value, this.littleEndian);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value >>> 0, this.littleEndian);
    return this;
  }

  entityId(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value >>> 0, false);
    return this;
  }

  sequence(value: number): this {
    return this.i32(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }

  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Zeros up to a multiple of `alignment`, counted from the first byte. */
  align(alignment: number): this {
    this.#grow((alignment - (this.#length % alignment)) % alignment);
    return this;
  }

  bytesWritten(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.byteLength * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

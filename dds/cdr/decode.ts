import { shapeOf, type Field, type MessageDefinitions, type Primitive, type Shape } from "./definition.ts";
import { leadsSomewhere, parsePath, partAt, selectionOf, type Path, type Selection } from "./path.ts";
import type { CdrProblem, CdrRecord, CdrValue, DefinitionProblem } from "./value.ts";

/** Decodes whole messages of one type. */
export interface MessageDecoder {
  /**
   * `payload` begins with its four bytes of encapsulation header, as a `Sample` brings it. Never throws. `bytesLeft` is what the
   * message did not use; padding of the transport is at most three bytes.
   */
  decode(payload: Uint8Array): Decoded<CdrRecord, { readonly bytesLeft: number }>;
}

/** Decodes only some parts of messages of one type and skips over the rest, so that large arrays cost little. */
export interface PathDecoder {
  /**
   * One value per path, in the order of the paths: an array where the path says `[*]`, undefined where an index is beyond the
   * end. Never throws.
   */
  decode(payload: Uint8Array): Decoded<readonly (CdrValue | undefined)[]>;
}

export type Decoded<Value, More = unknown> =
  | ({ readonly ok: true; readonly value: Value } & More)
  | { readonly ok: false; readonly problem: CdrProblem };

export type Compiled<Decoder> =
  | { readonly ok: true; readonly decoder: Decoder }
  | { readonly ok: false; readonly problem: DefinitionProblem };

/** A decoder for `type` (`nav_msgs/msg/Odometry`). Representation: plain CDR (XCDR1), both byte orders; OMG DDS-XTypes 1.3, 7.4.1. */
export function compileDecoder(type: string, definitions: MessageDefinitions): Compiled<MessageDecoder> {
  const compiled = shapeOf(type, definitions);
  if (!compiled.ok) return compiled;
  const { shape } = compiled;
  return { ok: true, decoder: { decode: (payload) => decodeSelected(payload, shape, "all") } };
}

/** A decoder for some paths of `type`: `twist.twist.linear.x`, `status[*].level`. */
export function compilePathDecoder(
  type: string,
  paths: readonly string[],
  definitions: MessageDefinitions,
): Compiled<PathDecoder> {
  const compiled = shapeOf(type, definitions);
  if (!compiled.ok) return compiled;
  const { shape } = compiled;
  const parsed: Path[] = [];
  for (const text of paths) {
    const path = parsePath(text);
    if (path === undefined || !leadsSomewhere(path, shape))
      return { ok: false, problem: { code: "unknown-path", path: text } };
    parsed.push(path);
  }
  const selection = selectionOf(parsed);
  const decode = (payload: Uint8Array): Decoded<readonly (CdrValue | undefined)[]> => {
    const decoded = decodeSelected(payload, shape, selection);
    return decoded.ok ? { ok: true, value: parsed.map((path) => partAt(decoded.value, path)) } : decoded;
  };
  return { ok: true, decoder: { decode } };
}

/** Array elements that become values of their own in one message; arrays of bytes do not count. */
const ELEMENTS_MAX = 100_000;
const HEADER_BYTES = 4;

/** OMG DDSI-RTPS 2.5, 10.2, and DDS-XTypes 1.3, table 60. */
const ENCAPSULATIONS: Readonly<Record<number, string>> = {
  0x0002: "PL_CDR_BE",
  0x0003: "PL_CDR_LE",
  0x0004: "XML",
  0x0006: "CDR2_BE",
  0x0007: "CDR2_LE",
  0x0008: "D_CDR2_BE",
  0x0009: "D_CDR2_LE",
  0x000a: "PL_CDR2_BE",
  0x000b: "PL_CDR2_LE",
};

/** Where a decoder stands. Alignment counts from `start`, behind the header. */
interface Cursor {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly littleEndian: boolean;
  at: number;
  elementsLeft: number;
}

/** Thrown and caught within this file only, because checking every nested read would hide what is decoded. */
class Undecodable extends Error {
  readonly problem: CdrProblem;
  constructor(problem: CdrProblem) {
    super(problem.code);
    this.problem = problem;
  }
}

function decodeSelected(
  payload: Uint8Array,
  shape: Shape,
  selection: Selection,
): Decoded<CdrRecord, { bytesLeft: number }> {
  if (payload.byteLength < HEADER_BYTES) return { ok: false, problem: { code: "cut-short", at: "" } };
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const kind = view.getUint16(0);
  if (kind > 1) {
    const encapsulation = ENCAPSULATIONS[kind] ?? `0x${kind.toString(16).padStart(4, "0")}`;
    return { ok: false, problem: { code: "unsupported-encapsulation", encapsulation } };
  }
  const cursor: Cursor = {
    view,
    bytes: payload,
    start: HEADER_BYTES,
    littleEndian: kind === 1,
    at: HEADER_BYTES,
    elementsLeft: ELEMENTS_MAX,
  };
  if (shape.kind !== "record") throw new TypeError("a message is a record");
  try {
    const value = readRecord(cursor, shape.fields, selection, "");
    return { ok: true, value, bytesLeft: remaining(cursor) };
  } catch (error) {
    if (error instanceof Undecodable) return { ok: false, problem: error.problem };
    throw error;
  }
}

function readRecord(cursor: Cursor, fields: readonly Field[], selection: Selection, at: string): CdrRecord {
  const record: Record<string, CdrValue> = {};
  let left = selection === "all" ? fields.length : selection.size;
  for (const { name, shape } of fields) {
    const wanted = selection === "all" ? selection : selection.get(name);
    const path = at === "" ? name : `${at}.${name}`;
    if (wanted === undefined) {
      skip(cursor, shape, path);
      continue;
    }
    record[name] = read(cursor, shape, wanted, path);
    left--;
    // At the top nothing behind the last wanted field matters; within arrays the next element must be found.
    if (left === 0 && at === "") break;
  }
  return record;
}

function read(cursor: Cursor, shape: Shape, selection: Selection, at: string): CdrValue {
  switch (shape.kind) {
    case "primitive":
      return readPrimitive(cursor, shape.primitive, shape.bytesMin, at);
    case "string":
      return readString(cursor, shape.lengthMax, at);
    case "record":
      return readRecord(cursor, shape.fields, selection, at);
    case "array":
      return readElements(cursor, shape.element, shape.length, selection, at);
    case "sequence":
      return readElements(cursor, shape.element, readLength(cursor, shape.element, shape.lengthMax, at), selection, at);
  }
}

function readElements(cursor: Cursor, element: Shape, length: number, selection: Selection, at: string): CdrValue {
  if (element.kind === "primitive" && OCTETS.has(element.primitive)) {
    const start = advance(cursor, 1, length, at);
    return cursor.bytes.slice(start, start + length);
  }
  if (length * element.bytesMin > remaining(cursor)) throw new Undecodable({ code: "cut-short", at });
  cursor.elementsLeft -= length;
  if (cursor.elementsLeft < 0) throw new Undecodable({ code: "too-many-elements", at });
  const elements: CdrValue[] = [];
  for (let index = 0; index < length; index++) elements.push(read(cursor, element, selection, `${at}[]`));
  return elements;
}

/** Moves behind a value without making anything of it. */
function skip(cursor: Cursor, shape: Shape, at: string): void {
  switch (shape.kind) {
    case "primitive":
      advance(cursor, shape.bytesMin, shape.bytesMin, at);
      return;
    case "string":
      skipString(cursor, shape.lengthMax, at);
      return;
    case "record":
      for (const field of shape.fields) skip(cursor, field.shape, `${at}.${field.name}`);
      return;
    case "array":
      skipElements(cursor, shape.element, shape.length, at);
      return;
    case "sequence":
      skipElements(cursor, shape.element, readLength(cursor, shape.element, shape.lengthMax, at), at);
      return;
  }
}

function skipElements(cursor: Cursor, element: Shape, length: number, at: string): void {
  if (length === 0) return;
  if (element.kind === "primitive") {
    advance(cursor, element.bytesMin, element.bytesMin * length, at);
    return;
  }
  if (length * element.bytesMin > remaining(cursor)) throw new Undecodable({ code: "cut-short", at });
  for (let index = 0; index < length; index++) skip(cursor, element, at);
}

function readLength(cursor: Cursor, element: Shape, lengthMax: number, at: string): number {
  const start = advance(cursor, 4, 4, at);
  const length = cursor.view.getUint32(start, cursor.littleEndian);
  if (length > lengthMax) throw new Undecodable({ code: "over-bound", at });
  if (length * element.bytesMin > remaining(cursor)) throw new Undecodable({ code: "cut-short", at });
  return length;
}

/** The characters' place: a length that counts the closing zero, then the bytes. Some writers send length 0 for nothing. */
function skipString(cursor: Cursor, lengthMax: number, at: string): { start: number; end: number } {
  const place = advance(cursor, 4, 4, at);
  const length = cursor.view.getUint32(place, cursor.littleEndian);
  const start = advance(cursor, 1, length, at);
  const end = length > 0 && cursor.bytes[start + length - 1] === 0 ? start + length - 1 : start + length;
  if (end - start > lengthMax) throw new Undecodable({ code: "over-bound", at });
  return { start, end };
}

function readString(cursor: Cursor, lengthMax: number, at: string): string {
  const { start, end } = skipString(cursor, lengthMax, at);
  return Buffer.from(cursor.bytes.buffer, cursor.bytes.byteOffset + start, end - start).toString("utf8");
}

function readPrimitive(cursor: Cursor, primitive: Primitive, bytes: 1 | 2 | 4 | 8, at: string): CdrValue {
  const { view, littleEndian } = cursor;
  const start = advance(cursor, bytes, bytes, at);
  switch (primitive) {
    case "bool":
      return view.getUint8(start) !== 0;
    case "byte":
    case "char":
    case "uint8":
      return view.getUint8(start);
    case "int8":
      return view.getInt8(start);
    case "int16":
      return view.getInt16(start, littleEndian);
    case "uint16":
      return view.getUint16(start, littleEndian);
    case "int32":
      return view.getInt32(start, littleEndian);
    case "uint32":
      return view.getUint32(start, littleEndian);
    case "int64":
      return view.getBigInt64(start, littleEndian);
    case "uint64":
      return view.getBigUint64(start, littleEndian);
    case "float32":
      return view.getFloat32(start, littleEndian);
    case "float64":
      return view.getFloat64(start, littleEndian);
  }
}

/** Aligns, checks that `length` bytes are left, moves behind them and returns where they start. */
function advance(cursor: Cursor, alignment: number, length: number, at: string): number {
  const start = cursor.at + ((alignment - ((cursor.at - cursor.start) % alignment)) % alignment);
  if (start + length > cursor.bytes.byteLength) throw new Undecodable({ code: "cut-short", at });
  cursor.at = start + length;
  return start;
}

function remaining(cursor: Cursor): number {
  return cursor.bytes.byteLength - cursor.at;
}

const OCTETS: ReadonlySet<Primitive> = new Set(["byte", "char", "uint8"]);

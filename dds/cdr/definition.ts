import type { DefinitionProblem } from "./value.ts";

/**
 * Message types as data: by ROS type name (`nav_msgs/msg/Odometry`), the fields in order as a `.msg` file writes them
 * (`float64[36] covariance`, `string<=10[<=5] names`, `geometry_msgs/msg/Pose pose`). A type without a package belongs to the
 * package of its message. Constants, default values and comments are understood and left out.
 */
export type MessageDefinitions = Readonly<Record<string, readonly string[]>>;

export type Primitive =
  | "bool"
  | "byte"
  | "char"
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

/** How a type lies in the bytes. `bytesMin` is the least that one value takes, without alignment; it is never 0. */
export type Shape =
  | { readonly kind: "primitive"; readonly primitive: Primitive; readonly bytesMin: 1 | 2 | 4 | 8 }
  | { readonly kind: "string"; readonly bytesMin: number; readonly lengthMax: number }
  | { readonly kind: "array"; readonly bytesMin: number; readonly element: Shape; readonly length: number }
  | { readonly kind: "sequence"; readonly bytesMin: number; readonly element: Shape; readonly lengthMax: number }
  | { readonly kind: "record"; readonly bytesMin: number; readonly fields: readonly Field[] };

export interface Field {
  readonly name: string;
  readonly shape: Shape;
}

export type ShapeResult =
  | { readonly ok: true; readonly shape: Shape }
  | { readonly ok: false; readonly problem: DefinitionProblem };

const NESTING_MAX = 16;
const FIXED_LENGTH_MAX = 1_000_000;

/** The shape of a type with everything in it resolved. */
export function shapeOf(type: string, definitions: MessageDefinitions, depth = 0): ShapeResult {
  if (depth > NESTING_MAX) return { ok: false, problem: { code: "too-deep", type } };
  const lines = Object.hasOwn(definitions, type) ? definitions[type] : undefined;
  if (lines === undefined) return { ok: false, problem: { code: "unknown-type", type } };
  const fields: Field[] = [];
  for (const line of lines) {
    const parsed = parseLine(line);
    if (parsed === "nothing") continue;
    if (parsed === undefined) return { ok: false, problem: { code: "bad-field", type, line } };
    const element = elementShape(parsed, type, definitions, depth);
    if (!element.ok) return element;
    fields.push({ name: parsed.name, shape: inArray(element.shape, parsed) });
  }
  // IDL has no empty structures: ROS puts one byte in their place.
  if (fields.length === 0) fields.push({ name: "structure_needs_at_least_one_member", shape: primitive("uint8") });
  const bytesMin = fields.reduce((sum, { shape }) => sum + shape.bytesMin, 0);
  return { ok: true, shape: { kind: "record", bytesMin, fields } };
}

interface ParsedField {
  readonly type: string;
  readonly name: string;
  readonly stringLengthMax: number;
  readonly array:
    | { readonly kind: "array"; readonly length: number }
    | { readonly kind: "sequence"; readonly lengthMax: number }
    | undefined;
}

const FIELD =
  /^(?<type>[a-zA-Z][\w/]*)(?:<=(?<bound>\d{1,9}))?(?<array>\[(?:(?<length>\d{1,9})|<=(?<lengthMax>\d{1,9}))?\])?\s+(?<name>[a-zA-Z]\w*)(?<rest>\s.*|=.*)?$/;

function parseLine(line: string): ParsedField | "nothing" | undefined {
  const text = line.replace(/#.*$/, "").trim();
  if (text === "") return "nothing";
  const { type, bound, array, length, lengthMax, name, rest } = FIELD.exec(text)?.groups ?? {};
  if (type === undefined || name === undefined) return undefined;
  if (rest?.trimStart().startsWith("=") === true) return "nothing";
  if (bound !== undefined && type !== "string") return undefined;
  if (length !== undefined && (Number(length) === 0 || Number(length) > FIXED_LENGTH_MAX)) return undefined;
  return { type, name, stringLengthMax: bound === undefined ? Infinity : Number(bound), array: arrayOf() };

  function arrayOf(): ParsedField["array"] {
    if (array === undefined) return undefined;
    if (length !== undefined) return { kind: "array", length: Number(length) };
    return { kind: "sequence", lengthMax: lengthMax === undefined ? Infinity : Number(lengthMax) };
  }
}

function elementShape(field: ParsedField, within: string, definitions: MessageDefinitions, depth: number): ShapeResult {
  const { type } = field;
  if (type === "string")
    return { ok: true, shape: { kind: "string", bytesMin: LENGTH_BYTES, lengthMax: field.stringLengthMax } };
  if (isPrimitive(type)) return { ok: true, shape: primitive(type) };
  if (UNSUPPORTED.includes(type)) return { ok: false, problem: { code: "unsupported-type", type } };
  return shapeOf(fullName(type, within), definitions, depth + 1);
}

/** `Header` and `std_msgs/Header` are short for `PACKAGE/msg/Header` and `std_msgs/msg/Header`. */
function fullName(type: string, within: string): string {
  const parts = type.split("/");
  if (parts.length >= 3) return type;
  if (parts.length === 2) return `${parts[0]}/msg/${parts[1]}`;
  return `${within.slice(0, within.lastIndexOf("/"))}/${type}`;
}

function inArray(element: Shape, { array }: ParsedField): Shape {
  switch (array?.kind) {
    case undefined:
      return element;
    case "array":
      return { kind: "array", bytesMin: element.bytesMin * array.length, element, length: array.length };
    case "sequence":
      return { kind: "sequence", bytesMin: LENGTH_BYTES, element, lengthMax: array.lengthMax };
  }
}

function primitive(name: Primitive): Shape {
  return { kind: "primitive", primitive: name, bytesMin: BYTES[name] };
}

function isPrimitive(type: string): type is Primitive {
  return Object.hasOwn(BYTES, type);
}

const LENGTH_BYTES = 4;
const UNSUPPORTED = ["wstring", "float128", "wchar"];

const BYTES: Readonly<Record<Primitive, 1 | 2 | 4 | 8>> = {
  bool: 1,
  byte: 1,
  char: 1,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float32: 4,
  float64: 8,
};

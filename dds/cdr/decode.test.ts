import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { KNOWN_MESSAGES } from "../messages/interfaces.ts";
import { compileDecoder, compilePathDecoder } from "./decode.ts";
import { shapeOf, type MessageDefinitions } from "./definition.ts";
import type { CdrRecord } from "./value.ts";

const definitions: MessageDefinitions = {
  ...KNOWN_MESSAGES,
  "test_msgs/msg/Everything": [
    "# every primitive, out of alignment",
    "uint8 LIMIT=3",
    "bool flag",
    "float64 f64  # aligned to 8",
    "int8 i8 -1",
    "int16 i16",
    "uint8 u8",
    "uint32 u32",
    "int64 i64",
    "uint64 u64",
    "float32 f32",
    "string text",
    "uint16 u16",
    "int32 i32",
    "string<=4 short",
    "uint8[] bytes",
    "float64[2] pair",
    "int16[<=3] few",
    "string[] names",
    "Inner[] inner",
    "Nothing nothing",
  ],
  "test_msgs/msg/Inner": ["uint8 a", "float64 b"],
  "test_msgs/msg/Nothing": [],
  "test_msgs/msg/Loop": ["Loop again"],
  "test_msgs/msg/Wide": ["wstring text"],
  "test_msgs/msg/Bad": ["float64 [] x"],
  "test_msgs/msg/Prototype": ["uint8 __proto__", "uint8 x"],
};

/** Writes what the decoder should read, independently of it: aligned from behind the header. */
function encode(littleEndian: boolean, parts: readonly (readonly [string, unknown])[]): Uint8Array {
  const bytes: number[] = [];
  const sizes: Record<string, number> = {
    u8: 1,
    i8: 1,
    i16: 2,
    u16: 2,
    i32: 4,
    u32: 4,
    f32: 4,
    f64: 8,
    i64: 8,
    u64: 8,
  };
  const put = (kind: string, value: number | bigint) => {
    const size = sizes[kind] ?? 0;
    while (bytes.length % size !== 0) bytes.push(0);
    const view = new DataView(new ArrayBuffer(8));
    if (kind === "f64") view.setFloat64(0, Number(value), littleEndian);
    else if (kind === "f32") view.setFloat32(0, Number(value), littleEndian);
    else if (size === 8) view.setBigInt64(0, BigInt.asIntN(64, BigInt(value)), littleEndian);
    else if (size === 4) view.setInt32(0, Number(value) | 0, littleEndian);
    else if (size === 2) view.setInt16(0, Number(value), littleEndian);
    else view.setInt8(0, Number(value));
    bytes.push(...new Uint8Array(view.buffer, 0, size));
  };
  for (const [kind, value] of parts) {
    if (kind === "text") {
      const text = Buffer.from(`${String(value)}\0`);
      put("u32", text.length);
      bytes.push(...text);
    } else put(kind, typeof value === "bigint" ? value : Number(value));
  }
  return Uint8Array.from([0, littleEndian ? 1 : 0, 0, 0, ...bytes]);
}

const everything = (littleEndian: boolean) =>
  encode(littleEndian, [
    ["u8", 1],
    ["f64", -1.5],
    ["i8", -7],
    ["i16", -300],
    ["u8", 200],
    ["u32", 4_000_000_000],
    ["i64", -(2n ** 60n)],
    ["u64", 2n ** 63n],
    ["f32", 0.5],
    ["text", "grüße"],
    ["u16", 65_535],
    ["i32", -70_000],
    ["text", "four"],
    ["u32", 3],
    ["u8", 1],
    ["u8", 2],
    ["u8", 3],
    ["f64", 1],
    ["f64", 2],
    ["u32", 2],
    ["i16", 5],
    ["i16", -5],
    ["u32", 2],
    ["text", "a"],
    ["text", ""],
    ["u32", 2],
    ["u8", 9],
    ["f64", 9.5],
    ["u8", 8],
    ["f64", 8.5],
    ["u8", 0],
  ]);

const expected: CdrRecord = {
  flag: true,
  f64: -1.5,
  i8: -7,
  i16: -300,
  u8: 200,
  u32: 4_000_000_000,
  i64: -(2n ** 60n),
  u64: 2n ** 63n,
  f32: 0.5,
  text: "grüße",
  u16: 65_535,
  i32: -70_000,
  short: "four",
  bytes: Uint8Array.of(1, 2, 3),
  pair: [1, 2],
  few: [5, -5],
  names: ["a", ""],
  inner: [
    { a: 9, b: 9.5 },
    { a: 8, b: 8.5 },
  ],
  nothing: { structure_needs_at_least_one_member: 0 },
};

function decoderOf(type: string) {
  const compiled = compileDecoder(type, definitions);
  assert.ok(compiled.ok, JSON.stringify(compiled));
  return compiled.decoder;
}

function pathsOf(type: string, ...paths: readonly string[]) {
  const compiled = compilePathDecoder(type, paths, definitions);
  assert.ok(compiled.ok, JSON.stringify(compiled));
  return compiled.decoder;
}

describe("plain CDR", () => {
  for (const littleEndian of [true, false])
    test(`every kind of field, ${littleEndian ? "little" : "big"}-endian`, () => {
      const decoded = decoderOf("test_msgs/msg/Everything").decode(everything(littleEndian));
      assert.deepEqual(decoded, { ok: true, value: expected, bytesLeft: 0 });
    });

  test("only the asked parts, whatever is around them", () => {
    const decoder = pathsOf("test_msgs/msg/Everything", "inner[*].b", "pair[1]", "names[7]", "bytes[1]", "i64", "few");
    assert.deepEqual(decoder.decode(everything(true)), {
      ok: true,
      value: [[9.5, 8.5], 2, undefined, 2, -(2n ** 60n), [5, -5]],
    });
  });

  test("what is behind the last asked field need not be there", () => {
    const decoder = pathsOf("test_msgs/msg/Everything", "i8");
    assert.deepEqual(decoder.decode(everything(true).subarray(0, 21)), { ok: true, value: [-7] });
  });

  test("a payload cut anywhere is a named problem", () => {
    const whole = everything(true);
    for (let length = 0; length < whole.length; length++) {
      const decoded = decoderOf("test_msgs/msg/Everything").decode(whole.subarray(0, length));
      assert.ok(!decoded.ok && decoded.problem.code === "cut-short", `${length}`);
    }
  });

  test("lengths that the payload cannot hold cost nothing", () => {
    const claims = encode(true, [["u32", 0xffff_ffff]]);
    for (const field of ["uint8[] x", "float64[] x", "string x", "string[] x", "Inner[] x", "Nothing[] x"]) {
      const types = { ...definitions, "test_msgs/msg/One": [field] };
      const compiled = compileDecoder("test_msgs/msg/One", types);
      assert.ok(compiled.ok);
      const decoded = compiled.decoder.decode(claims);
      assert.ok(!decoded.ok && decoded.problem.code === "cut-short", field);
      const skipping = compilePathDecoder("test_msgs/msg/Two", ["y"], {
        ...types,
        "test_msgs/msg/Two": [field, "uint8 y"],
      });
      assert.ok(skipping.ok && !skipping.decoder.decode(claims).ok, field);
    }
  });

  test("a string or sequence above its bound is refused", () => {
    for (const [field, parts] of [
      ["string<=2 x", [["text", "abc"]]],
      [
        "uint8[<=1] x",
        [
          ["u32", 2],
          ["u8", 0],
          ["u8", 0],
        ],
      ],
    ] as const) {
      const compiled = compileDecoder("test_msgs/msg/One", { "test_msgs/msg/One": [field] });
      assert.ok(compiled.ok);
      const decoded = compiled.decoder.decode(encode(true, parts));
      assert.ok(!decoded.ok && decoded.problem.code === "over-bound", field);
    }
  });

  test("a million elements are not made into values", () => {
    const compiled = compileDecoder("test_msgs/msg/One", { "test_msgs/msg/One": ["bool[] x"] });
    assert.ok(compiled.ok);
    const payload = new Uint8Array(1_000_008);
    payload.set(encode(true, [["u32", 1_000_000]]));
    assert.deepEqual(compiled.decoder.decode(payload), { ok: false, problem: { code: "too-many-elements", at: "x" } });
  });

  const headers: readonly (readonly [number, string])[] = [
    [0x0003, "PL_CDR_LE"],
    [0x0007, "CDR2_LE"],
    [0x000a, "PL_CDR2_BE"],
    [0x4000, "0x4000"],
  ];
  for (const [kind, encapsulation] of headers)
    test(`${encapsulation} is refused by name`, () => {
      const decoded = decoderOf("std_msgs/msg/Bool").decode(Uint8Array.of(kind >> 8, kind & 255, 0, 0, 1));
      assert.deepEqual(decoded, { ok: false, problem: { code: "unsupported-encapsulation", encapsulation } });
    });

  test("bytes of no sense never throw and never make more than they hold", () => {
    const decoders = Object.keys(KNOWN_MESSAGES).map(decoderOf);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (body, littleEndian) => {
        const payload = Uint8Array.from([0, littleEndian ? 1 : 0, 0, 0, ...body]);
        for (const decoder of decoders) assert.equal(typeof decoder.decode(payload).ok, "boolean");
      }),
      { numRuns: 200 },
    );
  });
});

describe("definitions", () => {
  const refused: readonly (readonly [string, string])[] = [
    ["test_msgs/msg/Loop", "too-deep"],
    ["test_msgs/msg/Wide", "unsupported-type"],
    ["test_msgs/msg/Bad", "bad-field"],
    ["test_msgs/msg/Absent", "unknown-type"],
    ["constructor", "unknown-type"],
    // Such a field would reach the prototype of the record.
    ["test_msgs/msg/Prototype", "bad-field"],
  ];
  for (const [type, code] of refused)
    test(`${type}: ${code}`, () => {
      const compiled = compileDecoder(type, definitions);
      assert.ok(!compiled.ok && compiled.problem.code === code);
    });

  for (const path of ["nowhere", "inner.b", "i8.x", "pair[2]", "text[0]", "a..b", "", "inner[*", "constructor"])
    test(`the path "${path}" leads nowhere`, () => {
      const compiled = compilePathDecoder("test_msgs/msg/Everything", [path], definitions);
      assert.deepEqual(compiled, { ok: false, problem: { code: "unknown-path", path } });
    });

  test("every known message compiles", () => {
    const types = Object.keys(KNOWN_MESSAGES);
    assert.ok(types.length > 20);
    for (const type of types) assert.ok(shapeOf(type, KNOWN_MESSAGES).ok, type);
  });
});

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ContractError, type JsonObject } from "./json.ts";
import { collectSchemas } from "./schemas.ts";
import { declareTypes, typeContext } from "./types.ts";
import { tagUnions } from "./unions.ts";

suite("a schema becomes a type", () => {
  const table: readonly { readonly name: string; readonly schema: JsonObject; readonly type: string }[] = [
    { name: "a text", schema: { type: "string", pattern: "^a$" }, type: "export type X = string;" },
    { name: "an integer", schema: { type: "integer" }, type: "export type X = number;" },
    { name: "a constant", schema: { const: "a" }, type: 'export type X = "a";' },
    { name: "an enumeration", schema: { enum: ["a", 1] }, type: 'export type X = "a" | 1;' },
    { name: "a text or nothing", schema: { type: ["string", "null"] }, type: "export type X = string | null;" },
    {
      name: "a list",
      schema: { type: "array", items: { type: "string" } },
      type: "export type X = readonly string[];",
    },
    {
      name: "a list of either",
      schema: { type: "array", items: { enum: ["a", "b"] } },
      type: 'export type X = readonly ("a" | "b")[];',
    },
    {
      name: "a pair",
      schema: { type: "array", minItems: 2, items: false, prefixItems: [{ type: "string" }, { type: "number" }] },
      type: "export type X = readonly [string, number];",
    },
    {
      name: "a map",
      schema: { type: "object", additionalProperties: { type: "number" } },
      type: "export type X = { readonly [key: string]: number };",
    },
    {
      name: "an object",
      schema: { type: "object", required: ["a"], properties: { a: { type: "string" }, "b-c": { type: "boolean" } } },
      type: 'export interface X {\n  readonly a: string;\n  readonly "b-c"?: boolean;\n}',
    },
    {
      name: "a reference",
      schema: { type: "object", properties: { y: { $ref: "#/$defs/Y" } } },
      type: "export interface X {\n  readonly y?: Y;\n}",
    },
    {
      name: "an extension",
      schema: {
        allOf: [{ $ref: "#/$defs/Y" }, { type: "object", required: ["a"], properties: { a: { type: "null" } } }],
      },
      type: "export type X = Y & {\n  readonly a: null;\n};",
    },
  ];
  for (const { name, schema, type } of table) test(name, () => assert.equal(declared({ X: schema }).get("X"), type));
});

test("what has a default is there after parsing and may be left out before", () => {
  const types = declared({
    X: { type: "object", required: ["y"], properties: { a: { type: "number", default: 1 }, y: { $ref: "#/$defs/Z" } } },
    Z: { type: "object", properties: { b: { type: "boolean", default: true } } },
  });
  assert.equal(types.get("X"), "export interface X {\n  readonly a: number;\n  readonly y: Z;\n}");
  assert.equal(types.get("XInput"), "export interface XInput {\n  readonly a?: number;\n  readonly y: ZInput;\n}");
  assert.equal(types.get("ZInput"), "export interface ZInput {\n  readonly b?: boolean;\n}");
  assert.equal(types.get("YInput"), undefined);
});

test("a titled part becomes a type of its own, and its default stays where it is used", () => {
  const types = declared({
    X: { type: "object", properties: { a: { title: "A", default: {}, type: "object", properties: {} } } },
  });
  assert.equal(types.get("X"), "export interface X {\n  readonly a: A;\n}");
  assert.ok(types.has("A"));
});

suite("a schema without a type is refused", () => {
  const table: readonly { readonly name: string; readonly schema: JsonObject }[] = [
    { name: "nothing said", schema: { description: "?" } },
    { name: "an object of unnamed fields", schema: { type: "object" } },
    {
      name: "a map with fixed fields",
      schema: { type: "object", properties: {}, additionalProperties: { type: "string" } },
    },
    { name: "a tuple of open length", schema: { type: "array", prefixItems: [{ type: "string" }], items: false } },
    { name: "a type that is none", schema: { type: "text" } },
  ];
  for (const { name, schema } of table) test(name, () => assert.throws(() => declared({ X: schema }), ContractError));
});

suite("a union is tagged only when every branch can be told by one constant", () => {
  const branch = (value: string): JsonObject => ({
    type: "object",
    required: ["kind"],
    properties: { kind: { const: value } },
  });
  const tagOf = (definitions: Readonly<Record<string, JsonObject>>): unknown =>
    tagUnions(collected(definitions)).get("X")?.schema["discriminator"];
  const either: JsonObject = { oneOf: [{ $ref: "#/$defs/A" }, { $ref: "#/$defs/B" }] };

  test("different constants", () =>
    assert.deepEqual(tagOf({ X: either, A: branch("a"), B: branch("b") }), { propertyName: "kind" }));
  test("the same constant twice", () => assert.equal(tagOf({ X: either, A: branch("a"), B: branch("a") }), undefined));
  test("an optional constant", () =>
    assert.equal(
      tagOf({ X: either, A: branch("a"), B: { type: "object", properties: { kind: { const: "b" } } } }),
      undefined,
    ));
  test("null beside an object", () =>
    assert.equal(
      tagOf({ X: { oneOf: [{ $ref: "#/$defs/A" }, { type: "null" }] }, A: branch("a"), B: branch("b") }),
      undefined,
    ));
});

function collected(definitions: Readonly<Record<string, JsonObject>>): ReturnType<typeof collectSchemas> {
  return collectSchemas(
    new Map([["x.yaml", { title: "Words", $defs: { Y: { type: "object", properties: {} }, ...definitions } }]]),
  );
}

/** Declarations by the name of the type, without their comments. */
function declared(definitions: Readonly<Record<string, JsonObject>>): ReadonlyMap<string, string> {
  const text = declareTypes(typeContext(collected(definitions))).replace(/^ *\/\*\*.*\*\/\n/gm, "");
  return new Map(text.split("\n\n").map((part) => [/export (?:interface|type) (\w+)/.exec(part)?.[1] ?? "", part]));
}

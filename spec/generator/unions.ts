import { isList, isObject, type Json, type JsonObject } from "./json.ts";
import { lookUp, refName, type NamedSchema, type SchemaTable } from "./schemas.ts";

/**
 * Tells every tagged union how to choose: a `oneOf` whose branches are named objects, each with a required constant of
 * its own under one common key, gets a `discriminator`. Errors then speak of the branch that was meant, and defaults of
 * the other branches are never applied.
 */
export function tagUnions(table: SchemaTable): SchemaTable {
  const tagged = new Map<string, NamedSchema>();
  for (const [name, entry] of table) tagged.set(name, { ...entry, schema: tagObject(table, entry.schema) });
  return tagged;
}

function tagObject(table: SchemaTable, schema: JsonObject): JsonObject {
  const mapped = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, tagPart(table, value)]));
  const branches = schema["oneOf"];
  if (!isList(branches) || schema["discriminator"] !== undefined) return mapped;
  const propertyName = tagOf(table, branches);
  if (propertyName === undefined) return mapped;
  return { type: "object", ...mapped, discriminator: { propertyName } };
}

function tagPart(table: SchemaTable, part: Json): Json {
  if (isList(part)) return part.map((item) => tagPart(table, item));
  return isObject(part) ? tagObject(table, part) : part;
}

function tagOf(table: SchemaTable, branches: readonly Json[]): string | undefined {
  const objects: JsonObject[] = [];
  for (const branch of branches) {
    if (!isObject(branch) || branch["$ref"] === undefined) return undefined;
    objects.push(lookUp(table, refName(branch["$ref"])));
  }
  const first = objects[0]?.["properties"];
  if (!isObject(first)) return undefined;
  return Object.keys(first).find((key) => {
    const values = objects.map((schema) => constantOf(schema, key));
    return values.every((value) => value !== undefined) && new Set(values).size === values.length;
  });
}

function constantOf(schema: JsonObject, key: string): string | undefined {
  const { properties, required } = schema;
  if (!isObject(properties) || !isList(required) || !required.includes(key)) return undefined;
  const property = properties[key];
  if (!isObject(property)) return undefined;
  const value = property["const"];
  return typeof value === "string" ? value : undefined;
}

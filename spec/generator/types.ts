import { ContractError, isList, isObject, literal, type Json, type JsonObject } from "./json.ts";
import { lookUp, refName, type SchemaTable } from "./schemas.ts";

/**
 * `parsed` is what a reader holds after validation, defaults filled in; `input` is what a writer may leave out. The two
 * differ only for schemas that reach a default; those get a second type with the suffix `Input`.
 */
type TypeMode = "parsed" | "input";

export interface TypeContext {
  readonly table: SchemaTable;
  readonly defaulted: ReadonlySet<string>;
}

export function typeContext(table: SchemaTable): TypeContext {
  return { table, defaulted: schemasWithDefaults(table) };
}

/** Declarations of every named schema, in the order of the table. */
export function declareTypes(context: TypeContext): string {
  return [...context.table.values()]
    .map(({ name, schema }) => {
      const comment = docComment(schema, "");
      const parsed = `${comment}${declare(context, name, schema, "parsed")}`;
      if (!context.defaulted.has(name)) return parsed;
      const note = `/** ${name} as it may be written: what has a default may be left out. */\n`;
      return `${parsed}\n\n${note}${declare(context, `${name}Input`, schema, "input")}`;
    })
    .join("\n\n");
}

function declare(context: TypeContext, name: string, schema: JsonObject, mode: TypeMode): string {
  const shape = typeOf(context, schema, mode, "");
  return isPlainObject(schema) ? `export interface ${name} ${shape}` : `export type ${name} = ${shape};`;
}

/** The TypeScript type of a linked schema. */
function typeOf(context: TypeContext, schema: Json, mode: TypeMode, indent: string): string {
  if (schema === true) return "unknown";
  if (!isObject(schema)) throw new ContractError(`no type for the schema ${literal(schema)}`);
  if (schema["$ref"] !== undefined) return nameIn(context, refName(schema["$ref"]), mode);
  if (schema["const"] !== undefined) return literal(schema["const"]);
  const { enum: values, oneOf, anyOf, allOf } = schema;
  if (isList(values)) return union(values.map(literal));
  const alternatives = oneOf ?? anyOf;
  if (isList(alternatives)) return union(alternatives.map((part) => typeOf(context, part, mode, indent)));
  if (isList(allOf)) return allOf.map((part) => typeOf(context, part, mode, indent)).join(" & ");
  const { type } = schema;
  if (isList(type)) return union(type.map((one) => typeOf(context, { ...schema, type: one }, mode, indent)));
  return typeOfKind(context, schema, type, mode, indent);
}

function typeOfKind(
  context: TypeContext,
  schema: JsonObject,
  type: Json | undefined,
  mode: TypeMode,
  indent: string,
): string {
  if (type === "string" || type === "boolean" || type === "null") return type;
  if (type === "integer" || type === "number") return "number";
  if (type === "array") return typeOfList(context, schema, mode, indent);
  if (type === "object") return typeOfObject(context, schema, mode, indent);
  throw new ContractError(`no type for the schema ${literal(schema)}`);
}

function typeOfList(context: TypeContext, schema: JsonObject, mode: TypeMode, indent: string): string {
  const { items, prefixItems } = schema;
  if (isList(prefixItems)) {
    if (schema["minItems"] !== prefixItems.length || items !== false) {
      throw new ContractError("a tuple says minItems and items: false");
    }
    return `readonly [${prefixItems.map((item) => typeOf(context, item, mode, indent)).join(", ")}]`;
  }
  if (items === undefined) throw new ContractError(`a list says what its items are: ${literal(schema)}`);
  const item = typeOf(context, items, mode, indent);
  return /[|&]/.test(item) ? `readonly (${item})[]` : `readonly ${item}[]`;
}

function typeOfObject(context: TypeContext, schema: JsonObject, mode: TypeMode, indent: string): string {
  const { properties, required, additionalProperties } = schema;
  if (isObject(additionalProperties)) {
    if (properties !== undefined) throw new ContractError("a map has no fixed properties beside it");
    return `{ readonly [key: string]: ${typeOf(context, additionalProperties, mode, indent)} }`;
  }
  if (!isObject(properties)) {
    if (additionalProperties === false) return "Record<string, never>";
    if (additionalProperties === true) return "{ readonly [key: string]: unknown }";
    throw new ContractError(`an object names its properties: ${literal(schema)}`);
  }
  const needed = new Set(isList(required) ? required : []);
  for (const name of needed) {
    if (typeof name !== "string" || properties[name] === undefined) {
      throw new ContractError(`required names ${literal(name)}, which is no property`);
    }
  }
  const inner = `${indent}  `;
  const lines = Object.entries(properties).map(([name, part]) => {
    const present = needed.has(name) || (mode === "parsed" && isObject(part) && part["default"] !== undefined);
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : literal(name);
    return `${docComment(part, inner)}${inner}readonly ${key}${present ? "" : "?"}: ${typeOf(context, part, mode, inner)};`;
  });
  return lines.length === 0 ? "Record<string, never>" : `{\n${lines.join("\n")}\n${indent}}`;
}

function nameIn(context: TypeContext, name: string, mode: TypeMode): string {
  lookUp(context.table, name);
  return mode === "input" && context.defaulted.has(name) ? `${name}Input` : name;
}

function isPlainObject(schema: JsonObject): boolean {
  return schema["type"] === "object" && isObject(schema["properties"]) && schema["oneOf"] === undefined;
}

function union(parts: readonly string[]): string {
  return [...new Set(parts)].join(" | ");
}

function docComment(schema: Json, indent: string): string {
  const description = isObject(schema) ? schema["description"] : undefined;
  if (typeof description !== "string") return "";
  return `${indent}/** ${description.trim().replace(/\s+/g, " ").replaceAll("*/", "*\\/")} */\n`;
}

/** Names of the schemas that reach a default through any number of references. */
function schemasWithDefaults(table: SchemaTable): ReadonlySet<string> {
  const reached = new Set<string>();
  let before = -1;
  while (before !== reached.size) {
    before = reached.size;
    for (const [name, { schema }] of table) if (reachesDefault(schema, reached)) reached.add(name);
  }
  return reached;
}

function reachesDefault(part: Json, reached: ReadonlySet<string>): boolean {
  if (isList(part)) return part.some((item) => reachesDefault(item, reached));
  if (!isObject(part)) return false;
  if (part["default"] !== undefined) return true;
  if (part["$ref"] !== undefined && reached.has(refName(part["$ref"]))) return true;
  return Object.values(part).some((item) => reachesDefault(item, reached));
}

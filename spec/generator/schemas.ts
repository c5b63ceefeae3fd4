import { ContractError, isList, isObject, type Json, type JsonObject } from "./json.ts";

/**
 * Every schema of the contract by its one name. References between them are `{ $ref: "#/components/schemas/NAME" }`.
 * A schema gets its name from the key under `$defs` or `components/schemas`, or from its `title`.
 */
export type SchemaTable = ReadonlyMap<string, NamedSchema>;

export interface NamedSchema {
  readonly name: string;
  /** The file it was written in, for errors and headings. */
  readonly file: string;
  /** Whether it is the root of its file: a whole document, as opposed to a part of one. */
  readonly root: boolean;
  readonly schema: JsonObject;
}

export const REF_PREFIX = "#/components/schemas/";

const ANNOTATIONS = ["$schema", "title", "description", "default", "examples", "deprecated", "discriminator"];
const VALUES = ["type", "const", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum"];
const OBJECTS = ["properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"];
const LISTS = ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"];
const COMPOSITION = ["$ref", "oneOf", "anyOf", "allOf", "dependentRequired", "$defs"];
const EXTENSIONS = ["x-muto-readers", "x-muto-for-people"];
const KNOWN = new Set([...EXTENSIONS, ...ANNOTATIONS, ...VALUES, ...OBJECTS, ...LISTS, ...COMPOSITION]);
const FORMATS = new Set(["uri", "date-time"]);
const NAME = /^[A-Z][A-Za-z0-9]*$/;

/**
 * Collects the named schemas of documents and links them. The sources come by file name relative to the contract's
 * folder (`messages/common.yaml`). An unknown keyword, a dangling reference or a name used twice is an error: the
 * generator never guesses.
 */
export function collectSchemas(documents: ReadonlyMap<string, JsonObject>): SchemaTable {
  const table = new Map<string, NamedSchema>();
  const collector = { table, documents };
  for (const [file, document] of documents) {
    const components = document["components"];
    const definitions = isObject(components) ? components["schemas"] : document["$defs"];
    for (const [name, schema] of Object.entries(isObject(definitions) ? definitions : {})) {
      define(collector, name, file, schema, `${file}#${name}`);
    }
    if (!saysSomething(document)) continue;
    define(collector, nameOfDocument(documents, file), file, document, file);
  }
  for (const { schema, file } of table.values()) checkReferences(table, schema, file);
  return table;
}

interface Collector {
  readonly table: Map<string, NamedSchema>;
  readonly documents: ReadonlyMap<string, JsonObject>;
}

/** Links one schema that stands outside the tables (an operation's body), adding its titled parts to the table. */
export function linkSchema(
  table: SchemaTable,
  documents: ReadonlyMap<string, JsonObject>,
  file: string,
  schema: Json,
  where: string,
): { readonly schema: JsonObject; readonly table: SchemaTable } {
  const grown = new Map(table);
  const linked = link({ table: grown, documents }, file, schema, where, false);
  checkReferences(grown, linked, where);
  return { schema: linked, table: grown };
}

/** The name that a linked `$ref` points to. */
export function refName(ref: Json): string {
  if (typeof ref !== "string" || !ref.startsWith(REF_PREFIX))
    throw new ContractError(`unlinked reference ${literalOf(ref)}`);
  return ref.slice(REF_PREFIX.length);
}

export function lookUp(table: SchemaTable, name: string): JsonObject {
  const found = table.get(name);
  if (found === undefined) throw new ContractError(`there is no schema named ${name}`);
  return found.schema;
}

function define(collector: Collector, name: string, file: string, schema: Json, where: string): void {
  if (!NAME.test(name)) throw new ContractError(`${where}: a schema's name is in PascalCase, not "${name}"`);
  if (!isObject(schema)) throw new ContractError(`${where}: a schema is a mapping`);
  const before = collector.table.get(name);
  if (before !== undefined) throw new ContractError(`${where}: the name ${name} is already taken in ${before.file}`);
  const root = schema === collector.documents.get(file);
  collector.table.set(name, { name, file, root, schema: {} });
  const { title: _title, $defs: _definitions, $schema: _dialect, ...body } = schema;
  collector.table.set(name, { name, file, root, schema: link(collector, file, body, where, false) });
}

/** Rewrites references and moves titled parts out into the table; `hoist` says whether this part may be moved. */
function link(collector: Collector, file: string, schema: Json, where: string, hoist = true): JsonObject {
  if (!isObject(schema)) throw new ContractError(`${where}: a schema is a mapping`);
  for (const key of Object.keys(schema)) {
    if (!KNOWN.has(key)) throw new ContractError(`${where}: unknown schema keyword "${key}"`);
  }
  const title = schema["title"];
  if (hoist && typeof title === "string") {
    const { default: preset, ...body } = schema;
    define(collector, title, file, body, where);
    return { $ref: REF_PREFIX + title, ...(preset === undefined ? {} : { default: preset }) };
  }
  const format = schema["format"];
  if (format !== undefined && (typeof format !== "string" || !FORMATS.has(format))) {
    throw new ContractError(`${where}: unknown format ${literalOf(format)}`);
  }
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, linkKeyword(collector, file, key, value, `${where}/${key}`)]),
  );
}

function linkKeyword(collector: Collector, file: string, key: string, value: Json, where: string): Json {
  switch (key) {
    case "$ref":
      return REF_PREFIX + resolveName(collector.documents, file, value, where);
    case "properties":
      if (!isObject(value)) throw new ContractError(`${where}: must be a mapping`);
      return Object.fromEntries(
        Object.entries(value).map(([name, part]) => [name, link(collector, file, part, `${where}/${name}`)]),
      );
    case "oneOf":
    case "anyOf":
    case "allOf":
    case "prefixItems":
      if (!isList(value)) throw new ContractError(`${where}: must be a list`);
      return value.map((part, index) => link(collector, file, part, `${where}/${index}`));
    case "items":
    case "additionalProperties":
    case "propertyNames":
      return typeof value === "boolean" ? value : link(collector, file, value, where);
    default:
      return value;
  }
}

/** `file.yaml#/$defs/Name`, `file.yaml`, `#/$defs/Name` or `#/components/schemas/Name`, relative to the folder of `from`. */
function resolveName(documents: ReadonlyMap<string, JsonObject>, from: string, ref: Json, where: string): string {
  if (typeof ref !== "string") throw new ContractError(`${where}: a reference is a text`);
  const [path = "", fragment = ""] = ref.split("#");
  const folder = from.includes("/") ? from.slice(0, from.lastIndexOf("/") + 1) : "";
  const file = path === "" ? from : folder + path.replace(/^\.\//, "");
  if (!documents.has(file)) throw new ContractError(`${where}: there is no file ${file}`);
  const name = /^\/(?:\$defs|components\/schemas)\/([A-Za-z0-9]+)$/.exec(fragment)?.[1];
  if (name !== undefined) return name;
  if (fragment !== "") throw new ContractError(`${where}: cannot follow ${ref}`);
  return nameOfDocument(documents, file);
}

function nameOfDocument(documents: ReadonlyMap<string, JsonObject>, file: string): string {
  const title = documents.get(file)?.["title"];
  if (typeof title !== "string" || title === "")
    throw new ContractError(`${file}: a schema needs a title; it is its name`);
  return title;
}

function saysSomething(document: JsonObject): boolean {
  return ["type", "oneOf", "anyOf", "allOf", "enum", "const", "$ref"].some((key) => document[key] !== undefined);
}

function checkReferences(table: SchemaTable, part: Json, where: string): void {
  if (isList(part)) for (const item of part) checkReferences(table, item, where);
  if (!isObject(part)) return;
  for (const [key, value] of Object.entries(part)) {
    if (key === "$ref" && !table.has(refName(value)))
      throw new ContractError(`${where}: there is no schema ${refName(value)}`);
    if (key !== "$ref") checkReferences(table, value, where);
  }
}

function literalOf(value: Json | undefined): string {
  return JSON.stringify(value) ?? "undefined";
}

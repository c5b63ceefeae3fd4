import { Ajv2020 } from "ajv/dist/2020.js";
import standalone from "ajv/dist/standalone/index.js";
import formats from "ajv-formats";
import { isList, isObject, type Json, type JsonObject } from "./json.ts";
import { REF_PREFIX, type SchemaTable } from "./schemas.ts";

/** Every schema gets this prefix to its name as `$id`, so that references are absolute. */
const ID_PREFIX = "muto:";

/**
 * The schema as Ajv takes it: named by `$id`, references by name. Annotations that only people read are left out, and
 * `discriminator` stays, because Ajv understands it.
 */
export function schemaForAjv(name: string, schema: JsonObject): JsonObject {
  return { $id: ID_PREFIX + name, ...forAjv(schema) };
}

function forAjv(schema: JsonObject): JsonObject {
  const entries: [string, Json][] = [];
  for (const [key, value] of Object.entries(schema)) {
    if (key === "description" || key === "examples" || key === "deprecated" || key.startsWith("x-muto-")) continue;
    entries.push([
      key,
      key === "$ref" && typeof value === "string" ? value.replace(REF_PREFIX, ID_PREFIX) : partForAjv(key, value),
    ]);
  }
  return Object.fromEntries(entries);
}

function partForAjv(key: string, value: Json): Json {
  if (key === "default" || key === "const" || key === "enum" || key === "discriminator") return value;
  if (isList(value)) return value.map((item) => (isObject(item) ? forAjv(item) : item));
  if (!isObject(value)) return value;
  if (key === "properties") {
    return Object.fromEntries(
      Object.entries(value).map(([name, part]) => [name, isObject(part) ? forAjv(part) : part]),
    );
  }
  return forAjv(value);
}

/**
 * Code of validators that needs no compiler at run time: one function per name, `validate` before the name. Ajv writes
 * `require`, which neither ES modules nor a bundle understand; the calls become imports.
 */
export function validatorsSource(table: SchemaTable, names: readonly string[]): string {
  const ajv = new Ajv2020({
    schemas: [...table.values()].map(({ name, schema }) => schemaForAjv(name, schema)),
    code: { source: true, esm: true, lines: true },
    strict: true,
    strictTypes: false,
    strictRequired: false,
    allErrors: true,
    useDefaults: true,
    discriminator: true,
    inlineRefs: false,
  });
  formats.default(ajv);
  const source = standalone.default(
    ajv,
    Object.fromEntries(names.map((name) => [`validate${name}`, ID_PREFIX + name])),
  );
  return requiresToImports(source);
}

export function validatorsDeclaration(names: readonly string[]): string {
  const functions = names.map((name) => `export declare const validate${name}: Validator<messages.${name}>;`);
  return `import type * as messages from "./messages.ts";
import type { Validator } from "../parse.ts";

${functions.join("\n")}
`;
}

function requiresToImports(source: string): string {
  const modules = new Map<string, string>();
  const body = source.replace(/require\("([^"]+)"\)/g, (_call, path: string) => {
    const name = modules.get(path) ?? `module${modules.size}`;
    modules.set(path, name);
    return name;
  });
  const imports = [...modules].map(([path, name]) => `import ${name} from ${JSON.stringify(`${path}.js`)};`);
  return [...imports, body.replace(/^"use strict";/, "")].join("\n");
}

import { isList, isObject, listAt, literal, type Json, type JsonObject } from "./json.ts";
import { linkSchema, REF_PREFIX, type SchemaTable } from "./schemas.ts";

/**
 * api.yaml as one self-contained document: every schema it reaches stands under components, and `security` follows from
 * who may call.
 */
export function bundleOpenapi(documents: ReadonlyMap<string, JsonObject>, table: SchemaTable): JsonObject {
  const api = documents.get("api.yaml") ?? {};
  const bundled = bundlePart(api, (schema) => linkSchema(table, documents, "api.yaml", schema, "api.yaml").schema);
  if (!isObject(bundled)) return {};
  const reached = new Set<string>();
  reach(bundled, table, reached);
  const schemas = Object.fromEntries(
    [...reached].toSorted().map((name) => [name, withoutDiscriminator(table.get(name)?.schema ?? {})]),
  );
  const components = bundled["components"];
  return { ...bundled, components: { ...(isObject(components) ? components : {}), schemas } };
}

export function openapiSource(document: JsonObject): string {
  const sections = Object.entries(document).map(([key, value]) => {
    if (!isObject(value)) return `  ${literal(key)}: ${literal(value)},`;
    const rows = Object.entries(value).map(([name, part]) => `    ${literal(name)}: ${literal(part)},`);
    return `  ${literal(key)}: {\n${rows.join("\n")}\n  },`;
  });
  return `/** The whole HTTP contract in one OpenAPI 3.1 document, without references to other files. */
export const OPENAPI: { readonly [key: string]: unknown } = {
${sections.join("\n")}
};
`;
}

function bundlePart(part: Json, link: (schema: Json) => JsonObject): Json {
  if (isList(part)) return part.map((item) => bundlePart(item, link));
  if (!isObject(part)) return part;
  const mapped = Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, key === "schema" ? link(value) : bundlePart(value, link)]),
  );
  return part["x-muto-principals"] === undefined ? mapped : { ...mapped, security: securityOf(part) };
}

function securityOf(operation: JsonObject): Json {
  const principals = listAt(operation, "x-muto-principals", "api.yaml");
  const schemes = new Set<string>();
  for (const principal of principals) {
    if (principal === "operator" || principal === "viewer") schemes.add("operatorToken");
    if (principal === "vehicle") schemes.add("vehicleToken");
  }
  return [...schemes].map((scheme) => ({ [scheme]: [] }));
}

function reach(part: Json, table: SchemaTable, reached: Set<string>): void {
  if (isList(part)) for (const item of part) reach(item, table, reached);
  if (!isObject(part)) return;
  const ref = part["$ref"];
  if (typeof ref === "string" && ref.startsWith(REF_PREFIX)) {
    const name = ref.slice(REF_PREFIX.length);
    if (!reached.has(name)) {
      reached.add(name);
      reach(table.get(name)?.schema ?? {}, table, reached);
    }
  }
  for (const value of Object.values(part)) reach(value, table, reached);
}

/** The tag is a constant of each branch; OpenAPI's discriminator would need a mapping to say the same again. */
function withoutDiscriminator(schema: JsonObject): JsonObject {
  const entries = Object.entries(schema).filter(([key]) => key !== "discriminator");
  return Object.fromEntries(
    entries.map(([key, value]) => [
      key,
      isList(value)
        ? value.map((item) => (isObject(item) ? withoutDiscriminator(item) : item))
        : isObject(value)
          ? withoutDiscriminator(value)
          : value,
    ]),
  );
}

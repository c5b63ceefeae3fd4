/** JSON as the generator handles it: parsed YAML and JSON Schemas. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [key: string]: Json;
}

/** What is wrong with the contract's sources, in words for whoever edits them. */
export class ContractError extends Error {
  override readonly name = "ContractError";
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !isList(value);
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** Copies a parsed YAML value, refusing whatever JSON cannot say. `where` names the place in errors. */
export function toJson(value: unknown, where: string): Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new ContractError(`${where}: ${value} is not a JSON number`);
    return value;
  }
  if (Array.isArray(value)) return value.map((item: unknown, index) => toJson(item, `${where}/${index}`));
  if (typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJson(item, `${where}/${key}`)]));
  }
  throw new ContractError(`${where}: a ${typeof value} is not JSON`);
}

export function objectAt(parent: JsonObject, key: string, where: string): JsonObject {
  const value = parent[key];
  if (!isObject(value)) throw new ContractError(`${where}: ${key} must be a mapping`);
  return value;
}

export function listAt(parent: JsonObject, key: string, where: string): readonly Json[] {
  const value = parent[key];
  if (!isList(value)) throw new ContractError(`${where}: ${key} must be a list`);
  return value;
}

export function textAt(parent: JsonObject, key: string, where: string): string {
  const value = parent[key];
  if (typeof value !== "string" || value === "") throw new ContractError(`${where}: ${key} must be a text`);
  return value;
}

/** A JSON value as TypeScript source on as few lines as a reader of a diff likes. */
export function literal(value: Json): string {
  return JSON.stringify(value);
}

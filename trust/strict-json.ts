import { parseJson } from "@muto/spec";
import type { JsonBounds } from "@muto/spec";

/**
 * JSON from documents that other programs signed. A key that appears twice is refused, because the signer's reader may have
 * taken the other one; so is everything that the contract's own reader refuses. Undefined when refused.
 */
export function parseStrictJson(source: Uint8Array | string, bounds: JsonBounds): unknown {
  const parsed = parseJson(source, bounds);
  if (!parsed.ok) return undefined;
  const text = typeof source === "string" ? source : Buffer.from(source).toString("utf8");
  return hasDuplicateKey(text) ? undefined : parsed.value;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** True when the object has these keys and no others, so that no second spelling of a key can hide beside the first. */
export function hasOnlyKeys(value: Readonly<Record<string, unknown>>, ...keys: readonly string[]): boolean {
  return Object.keys(value).every((key) => keys.includes(key));
}

/** The text is valid JSON: outside strings, braces open and close objects, and a string before a colon is a key. */
function hasDuplicateKey(text: string): boolean {
  const open: Set<string>[] = [];
  for (const [token, , colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*(:))?|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon !== undefined) {
      const key: unknown = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1));
      const keys = open.at(-1);
      if (typeof key !== "string" || keys === undefined || keys.has(key)) return true;
      keys.add(key);
    }
  }
  return false;
}

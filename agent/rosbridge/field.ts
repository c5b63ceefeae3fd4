import { isRecord } from "./protocol.ts";

/**
 * One field of a message as rosbridge writes it in JSON: `status[2].level`, `data[0]`. Undefined when the message has no such
 * field; null is the server's word for NaN and infinity. Lists of bytes come as base64.
 */
export function fieldOf(message: unknown, path: string): unknown {
  let value = message;
  for (const step of path.split(".")) {
    const [name = "", index] = step.split(/[[\]]/, 2);
    if (!isRecord(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
    if (index !== undefined) value = elementOf(value, Number(index));
    if (value === null) return null;
  }
  return value;
}

function elementOf(list: unknown, index: number): unknown {
  const elements: unknown = typeof list === "string" ? Buffer.from(list, "base64") : list;
  return Array.isArray(elements) || elements instanceof Uint8Array ? elements[index] : undefined;
}

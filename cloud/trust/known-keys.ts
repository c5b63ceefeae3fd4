import { parsePublicKey } from "@muto/trust/keys";
import type { PublicKey } from "@muto/trust/keys";

/** Reads a key's text; undefined when it is none. Which key counts is asked of the database every time, and never kept here. */
export type KeyReader = (pem: string) => PublicKey | undefined;

const KEYS_CACHED_MAX = 10_000;

/** Remembers what it has read: reading a key costs more than verifying with it. */
export function createKeyReader(): KeyReader {
  const keys = new Map<string, PublicKey>();
  return (pem) => {
    const known = keys.get(pem);
    if (known !== undefined) return known;
    const parsed = parsePublicKey(pem);
    if (!parsed.ok) return undefined;
    if (keys.size >= KEYS_CACHED_MAX) keys.clear();
    keys.set(pem, parsed.key);
    return parsed.key;
  };
}

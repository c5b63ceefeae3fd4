/**
 * Strict base64 as DSSE allows it: the standard or the URL alphabet (never mixed), with padding, in canonical form, so that
 * one value has at most two spellings. Undefined for anything else; `Buffer.from` alone would skip what it does not know.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const standard = /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? text : urlToStandard(text);
  if (standard === undefined || standard.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(standard, "base64");
  return bytes.toString("base64") === standard ? new Uint8Array(bytes) : undefined;
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Base64 without padding in the URL alphabet, as JSON Web Tokens write it; undefined when not canonical. */
export function decodeBase64Url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? new Uint8Array(bytes) : undefined;
}

export function encodeBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

function urlToStandard(text: string): string | undefined {
  return /^[A-Za-z0-9_-]*={0,2}$/.test(text) ? text.replaceAll("-", "+").replaceAll("_", "/") : undefined;
}

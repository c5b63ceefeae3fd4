import { readAnswer } from "./ask.ts";
import type { Ask } from "./ask.ts";
import { isLoopback } from "./reference.ts";

/** What the configuration gives for one registry; read from files by whoever makes the client, never logged. */
export type RegistryCredentials =
  | { readonly kind: "bearer"; readonly token: string }
  | { readonly kind: "basic"; readonly username: string; readonly password: string };

const CHALLENGE_CHARACTERS_MAX = 4096;
const TOKEN_ANSWER_BYTES_MAX = 64 * 1024;

/**
 * A value for the `Authorization` header that answers a registry's 401, or undefined when there is nothing to offer.
 * Speaks Basic, a fixed bearer token, and the token service that a `Bearer` challenge names (also for anonymous pulls).
 */
export async function answerChallenge(
  challenge: string,
  credentials: RegistryCredentials | undefined,
  options: { readonly ask: Ask; readonly origin: string; readonly signal: AbortSignal | undefined },
): Promise<string | undefined> {
  if (challenge.length > CHALLENGE_CHARACTERS_MAX) return undefined;
  if (credentials?.kind === "bearer") return `Bearer ${credentials.token}`;
  if (/^basic\b/i.test(challenge)) return credentials === undefined ? undefined : basic(credentials);
  if (!/^bearer\b/i.test(challenge)) return undefined;
  const url = tokenUrl(parametersOf(challenge), options.origin);
  if (url === undefined) return undefined;
  const headers = credentials === undefined ? {} : { authorization: basic(credentials) };
  const answer = await options.ask({ method: "GET", url, headers, signal: options.signal });
  if (!answer.ok) return undefined;
  const body = await readAnswer(answer, TOKEN_ANSWER_BYTES_MAX);
  const token = answer.status === 200 && body.ok ? tokenIn(body.bytes) : undefined;
  return token === undefined ? undefined : `Bearer ${token}`;
}

function basic(credentials: { readonly username: string; readonly password: string }): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`, "utf8").toString("base64")}`;
}

function parametersOf(challenge: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [, name, value] of challenge.matchAll(/([a-z_]{1,32})="([^"]{0,1024})"/gi)) {
    if (name !== undefined && value !== undefined) found.set(name.toLowerCase(), value);
  }
  return found;
}

/**
 * The token service that the registry names. Credentials may go there only encrypted, unless the service is the registry
 * itself or both are on this very computer.
 */
function tokenUrl(parameters: ReadonlyMap<string, string>, origin: string): string | undefined {
  const realm = parameters.get("realm");
  if (realm === undefined || !URL.canParse(realm)) return undefined;
  const url = new URL(realm);
  const local = isLoopback(url.host) && isLoopback(new URL(origin).host);
  const trusted = url.protocol === "https:" || url.origin === origin || local;
  if (!trusted || url.username !== "" || url.password !== "") return undefined;
  for (const name of ["service", "scope"]) {
    const value = parameters.get(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url.href;
}

function tokenIn(bytes: Uint8Array): string | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof answer !== "object" || answer === null) return undefined;
  const token =
    ("token" in answer ? answer.token : undefined) ?? ("access_token" in answer ? answer.access_token : undefined);
  return typeof token === "string" && /^[!-~]+$/.test(token) ? token : undefined;
}

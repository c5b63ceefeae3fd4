import type { HttpRequest } from "@muto/kit/http";
import type { Answer, Ask, RegistryAnswer, RegistryFailure } from "./ask.ts";
import { answerChallenge } from "./auth.ts";
import type { RegistryCredentials } from "./auth.ts";
import { isRegistryHost, registryOrigin } from "./reference.ts";

export interface Exchange {
  readonly method: HttpRequest["method"];
  /** A path below the registry's origin, or an absolute URL that the registry gave. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One exchange with the registry: its challenges are answered, downloads that are sent elsewhere are followed, and the
 * statuses that mean the same on every route are turned into failures. What comes back as an answer is below 400.
 */
export type Transport = (exchange: Exchange) => Promise<Answer>;

export interface TransportOptions {
  /** `https://host[:port]`, or `http://…` on loopback and where the configuration says so; see {@link registryBase}. */
  readonly origin: string;
  readonly credentials?: RegistryCredentials | undefined;
}

export type ParsedBase =
  | { readonly ok: true; readonly origin: string }
  | { readonly ok: false; readonly problem: "malformed" | "plain-http-refused" };

const REDIRECTS_MAX = 3;

/**
 * The origin of a registry from a configured URL or host. Unencrypted HTTP is refused off loopback unless `allowPlainHttp`
 * says that the operator chose it.
 */
export function registryBase(text: string, allowPlainHttp = false): ParsedBase {
  if (isRegistryHost(text)) return { ok: true, origin: registryOrigin(text, allowPlainHttp ? [text] : []) };
  if (!URL.canParse(text)) return { ok: false, problem: "malformed" };
  const url = new URL(text);
  const bare =
    url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if (!bare || (url.protocol !== "https:" && url.protocol !== "http:")) return { ok: false, problem: "malformed" };
  if (url.protocol === "https:") return { ok: true, origin: url.origin };
  const plain = registryOrigin(url.host, allowPlainHttp ? [url.host] : []);
  return plain === url.origin ? { ok: true, origin: plain } : { ok: false, problem: "plain-http-refused" };
}

export function createTransport(ask: Ask, options: TransportOptions): Transport {
  const send = createSender(ask, options);
  return async (exchange) => {
    let url = new URL(exchange.target, options.origin).href;
    for (let hop = 0; hop <= REDIRECTS_MAX; hop++) {
      const answer = await send(exchange, url);
      if (!answer.ok) return answer;
      if (!isRedirect(exchange.method, answer.status)) return await classify(answer);
      const next = redirectTarget(answer, url, options.origin);
      await answer.discard();
      if (next === undefined) return { ok: false, problem: "unexpected-status", httpStatus: answer.status };
      url = next;
    }
    return { ok: false, problem: "unexpected-status" };
  };
}

/** Sends with the authorization that worked before, and once more with a fresh one when the registry asks for it. */
function createSender(ask: Ask, options: TransportOptions): (exchange: Exchange, url: string) => Promise<Answer> {
  const { origin, credentials } = options;
  const authorizations = new Map<string, string>();

  const sendWith = (exchange: Exchange, url: string, authorization: string | undefined): Promise<Answer> => {
    const { method, body, signal } = exchange;
    const own = authorization === undefined ? {} : { authorization };
    const headers = { "accept-encoding": "identity", ...exchange.headers, ...own };
    return ask({ method, url, headers, signal, ...(body === undefined ? {} : { body }) });
  };

  return async (exchange, url) => {
    const target = new URL(url);
    if (target.protocol !== "https:" && new URL(origin).protocol === "https:") {
      return { ok: false, problem: "unexpected-status" };
    }
    // Credentials belong to the registry alone: a host that a transfer was sent on to never sees them.
    if (target.origin !== origin) return await sendWith(exchange, url, undefined);
    const scope = scopeOf(exchange.method, url);
    const known = authorizations.get(scope);
    const first = await sendWith(exchange, url, known);
    const challenge = first.ok && first.status === 401 ? first.headers.get("www-authenticate") : undefined;
    if (!first.ok || challenge === undefined) return first;
    await first.discard();
    const fresh = await answerChallenge(challenge, credentials, { ask, origin, signal: exchange.signal });
    if (fresh === undefined || fresh === known) return { ok: false, problem: "unauthorized", httpStatus: 401 };
    authorizations.set(scope, fresh);
    return await sendWith(exchange, url, fresh);
  };
}

async function classify(answer: RegistryAnswer): Promise<Answer> {
  const { status, headers } = answer;
  if (status < 400) return answer;
  await answer.discard();
  const failure: RegistryFailure = { ok: false, problem: problemOf(status), httpStatus: status };
  const retryAfterSec = Number(headers.get("retry-after") ?? Number.NaN);
  return Number.isSafeInteger(retryAfterSec) && retryAfterSec >= 0 ? { ...failure, retryAfterSec } : failure;
}

function problemOf(status: number): RegistryFailure["problem"] {
  if (status === 401 || status === 403) return "unauthorized";
  return status === 404 ? "not-found" : "unexpected-status";
}

function isRedirect(method: HttpRequest["method"], status: number): boolean {
  return (method === "GET" || method === "HEAD") && [301, 302, 303, 307, 308].includes(status);
}

/** Downloads may be sent elsewhere (content networks), but never from an encrypted connection to an open one. */
function redirectTarget(answer: RegistryAnswer, from: string, origin: string): string | undefined {
  const location = answer.headers.get("location");
  if (location === undefined || !URL.canParse(location, from)) return undefined;
  const target = new URL(location, from);
  const base = new URL(origin);
  const plainAllowed = base.protocol === "http:" && target.hostname === base.hostname;
  return target.protocol === "https:" || (target.protocol === "http:" && plainAllowed) ? target.href : undefined;
}

/** Tokens are issued per repository and per right, so they are remembered per repository and direction. */
function scopeOf(method: HttpRequest["method"], url: string): string {
  const repository = /^\/v2\/(.+)\/(?:manifests|blobs|referrers|tags)\//.exec(new URL(url).pathname)?.[1] ?? "";
  return `${method === "GET" || method === "HEAD" ? "pull" : "push"} ${repository}`;
}

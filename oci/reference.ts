import { isDigest } from "./digest.ts";

/** Where something lies: `registry/repository[:tag][@digest]`. There is no default registry: the first part always names it. */
export interface Reference {
  /** Host with optional port, lower case: `registry.example:5000`, `127.0.0.1:5000`, `[::1]:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

export type ReferenceProblem =
  | "too-long"
  | "scheme-not-allowed"
  | "registry-missing"
  | "registry-malformed"
  | "repository-malformed"
  | "tag-malformed"
  | "digest-malformed";

export type ParsedReference =
  | { readonly ok: true; readonly reference: Reference }
  | { readonly ok: false; readonly problem: ReferenceProblem };

const REFERENCE_CHARACTERS_MAX = 512;
const REPOSITORY_CHARACTERS_MAX = 255;
const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?$/;
const REPOSITORY_PART = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Grammar: OCI distribution specification 1.1, "Pulling manifests", with the registry made obligatory. */
export function parseReference(text: string): ParsedReference {
  if (text.length > REFERENCE_CHARACTERS_MAX) return refuse("too-long");
  if (text.includes("://")) return refuse("scheme-not-allowed");
  const slash = text.indexOf("/");
  if (slash <= 0) return refuse("registry-missing");
  const registry = text.slice(0, slash).toLowerCase();
  if (!isRegistryHost(registry)) return refuse("registry-malformed");

  const { before: named, after: digest } = cut(text.slice(slash + 1), "@");
  if (digest !== undefined && !isDigest(digest)) return refuse("digest-malformed");
  const { before: repository, after: tag } = cut(named, ":");
  if (tag !== undefined && !isTag(tag)) return refuse("tag-malformed");
  if (!isRepository(repository)) return refuse("repository-malformed");
  return {
    ok: true,
    reference: {
      registry,
      repository,
      ...(tag === undefined ? {} : { tag }),
      ...(digest === undefined ? {} : { digest }),
    },
  };
}

export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

export function isRepository(text: string): boolean {
  return text.length <= REPOSITORY_CHARACTERS_MAX && text.split("/").every((part) => REPOSITORY_PART.test(part));
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

export function isRegistryHost(text: string): boolean {
  const match = HOST.exec(text);
  return match !== null && (match[1] === undefined || Number(match[1]) <= 65_535);
}

/** True for this very computer only: the one place where unencrypted HTTP needs no permission. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:[0-9]{1,5}$/, "");
  return host === "localhost" || host === "[::1]" || /^127(?:\.(?:0|[1-9][0-9]{0,2})){3}$/.test(host);
}

/**
 * The base URL of a registry: `http` on loopback and for hosts that the configuration names as `plainHttp`, `https`
 * everywhere else, so that a name in a release can never choose an unencrypted connection.
 */
export function registryOrigin(registry: string, plainHttp: readonly string[] = []): string {
  return `${isLoopback(registry) || plainHttp.includes(registry) ? "http" : "https"}://${registry}`;
}

function cut(text: string, mark: string): { before: string; after?: string } {
  const at = text.indexOf(mark);
  return at === -1 ? { before: text } : { before: text.slice(0, at), after: text.slice(at + 1) };
}

function refuse(problem: ReferenceProblem): ParsedReference {
  return { ok: false, problem };
}

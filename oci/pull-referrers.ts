import { readAnswer } from "./ask.ts";
import type { RegistryFailure } from "./ask.ts";
import type { Referrers } from "./client.ts";
import { jsonIn, parseIndex } from "./descriptor.ts";
import type { Descriptor } from "./descriptor.ts";
import { digestHex } from "./digest.ts";
import { OCI_INDEX } from "./media-types.ts";
import { MANIFEST_BYTES_MAX, pullManifest, repositoryPath, unexpected } from "./pull.ts";
import type { Transport } from "./transport.ts";

const REFERRERS_MAX = 128;
const PAGES_MAX = 8;

/**
 * Lists what refers to a manifest (distribution specification 1.1, "Listing Referrers"). A 404 means that the registry has
 * no such API and the tag `sha256-<hex>` is asked; no such tag means that nothing refers to it.
 */
export async function listReferrers(
  transport: Transport,
  repository: string,
  digest: string,
  signal?: AbortSignal,
): Promise<Referrers | RegistryFailure> {
  const descriptors: Descriptor[] = [];
  let target: string | undefined = `${repositoryPath(repository)}/referrers/sha256:${digestHex(digest)}`;
  for (let page = 0; target !== undefined && page < PAGES_MAX && descriptors.length < REFERRERS_MAX; page++) {
    const found: ReferrersPage | RegistryFailure = await listPage(transport, target, signal);
    if (!found.ok && found.problem === "not-found" && page === 0)
      return await fromTag(transport, repository, digest, signal);
    if (!found.ok) return found;
    descriptors.push(...found.descriptors);
    target = found.next;
  }
  return { ok: true, via: "referrers-api", descriptors: descriptors.slice(0, REFERRERS_MAX) };
}

/** The tag under which registries without the referrers API keep the list. */
export function fallbackTag(digest: string): string {
  return `sha256-${digestHex(digest)}`;
}

interface ReferrersPage {
  readonly ok: true;
  readonly descriptors: readonly Descriptor[];
  readonly next: string | undefined;
}

async function listPage(
  transport: Transport,
  target: string,
  signal: AbortSignal | undefined,
): Promise<ReferrersPage | RegistryFailure> {
  const answer = await transport({ method: "GET", target, headers: { accept: OCI_INDEX }, signal });
  if (!answer.ok) return answer;
  if (answer.status !== 200) return await unexpected(answer);
  const body = await readAnswer(answer, MANIFEST_BYTES_MAX);
  if (!body.ok) return body;
  const descriptors = parseIndex(jsonIn(body.bytes));
  if (descriptors === undefined) return { ok: false, problem: "unexpected-status", httpStatus: 200 };
  return { ok: true, descriptors, next: nextPage(answer.headers.get("link"), target) };
}

async function fromTag(
  transport: Transport,
  repository: string,
  digest: string,
  signal: AbortSignal | undefined,
): Promise<Referrers | RegistryFailure> {
  const found = await pullManifest(transport, repository, fallbackTag(digest), signal);
  if (!found.ok && found.problem === "not-found") return { ok: true, via: "fallback-tag", descriptors: [] };
  if (!found.ok) return found;
  const descriptors = parseIndex(jsonIn(found.bytes));
  if (descriptors === undefined) return { ok: false, problem: "unexpected-status", httpStatus: 200 };
  return { ok: true, via: "fallback-tag", descriptors: descriptors.slice(0, REFERRERS_MAX) };
}

/** The next page must lie on the same path, so that a registry cannot send us anywhere. */
function nextPage(link: string | undefined, target: string): string | undefined {
  const next = /^<([^>]{1,2048})>;\s*rel="?next"?$/.exec(link ?? "")?.[1];
  const base = new URL(target, "http://registry.invalid");
  if (next === undefined || !URL.canParse(next, base.href)) return undefined;
  const url = new URL(next, base);
  return url.pathname === base.pathname ? `${url.pathname}${url.search}` : undefined;
}

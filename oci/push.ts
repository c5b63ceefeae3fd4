import type { Answer, RegistryAnswer, RegistryFailure } from "./ask.ts";
import type { BlobPush, ManifestPush, PushedBlob, PushedManifest } from "./client.ts";
import { digestOf } from "./digest.ts";
import { manifestReference, repositoryPath, unexpected } from "./pull.ts";
import type { Transport } from "./transport.ts";

/** Up to here a blob goes in one request; above, in pieces of this size. */
const CHUNK_BYTES = 8 * 1024 * 1024;

const OCTETS = { "content-type": "application/octet-stream" } as const;

export async function hasBlob(
  transport: Transport,
  repository: string,
  digest: string,
  signal?: AbortSignal,
): Promise<{ readonly ok: true; readonly present: boolean } | RegistryFailure> {
  const target = `${repositoryPath(repository)}/blobs/${manifestReference(digest)}`;
  const answer = await transport({ method: "HEAD", target, signal });
  if (!answer.ok) return answer.problem === "not-found" ? { ok: true, present: false } : answer;
  await answer.discard();
  return answer.status === 200 ? { ok: true, present: true } : await unexpected(answer);
}

/** Distribution specification 1.1, "Pushing blobs": POST then PUT, with PATCH in between when the content is large; or a mount. */
export async function pushBlob(
  transport: Transport,
  repository: string,
  blob: BlobPush,
): Promise<PushedBlob | RegistryFailure> {
  const { content, read, mountFrom, signal } = blob;
  const known = await hasBlob(transport, repository, content.digest, signal);
  if (!known.ok) return known;
  if (known.present) return { ok: true, how: "present" };
  const opened = await openUpload(transport, repository, { digest: content.digest, mountFrom, signal });
  if (!opened.ok) return opened;
  if (opened.status === 201 && mountFrom !== undefined) {
    await opened.discard();
    return { ok: true, how: "mounted" };
  }
  let session = await sessionIn(opened, 202);
  if (!session.ok) return session;

  let sent = 0;
  while (content.sizeBytes - sent > CHUNK_BYTES) {
    const body = await read(sent, CHUNK_BYTES);
    const headers = { ...OCTETS, "content-range": `${sent}-${sent + body.byteLength - 1}` };
    const answer = await transport({ method: "PATCH", target: session.url, headers, body, signal });
    if (!answer.ok) return answer;
    session = await sessionIn(answer, 202);
    if (!session.ok) return session;
    sent += body.byteLength;
  }
  const body = await read(sent, content.sizeBytes - sent);
  const range: Readonly<Record<string, string>> =
    sent > 0 ? { "content-range": `${sent}-${sent + body.byteLength - 1}` } : {};
  const target = withDigest(session.url, content.digest);
  const answer = await transport({ method: "PUT", target, headers: { ...OCTETS, ...range }, body, signal });
  if (!answer.ok) return answer;
  await answer.discard();
  return answer.status === 201 ? { ok: true, how: "uploaded" } : await unexpected(answer);
}

/** A registry that mounts the blob answers 201, one that cannot opens an upload; one that refuses to try is asked without. */
async function openUpload(
  transport: Transport,
  repository: string,
  blob: { readonly digest: string; readonly mountFrom: string | undefined; readonly signal: AbortSignal | undefined },
): Promise<Answer> {
  const { digest, mountFrom, signal } = blob;
  const target = `${repositoryPath(repository)}/blobs/uploads/`;
  if (mountFrom === undefined) return await transport({ method: "POST", target, signal });
  const query = new URLSearchParams({ mount: digest, from: mountFrom });
  const mounting = await transport({ method: "POST", target: `${target}?${query.toString()}`, signal });
  return mounting.ok || mounting.httpStatus === undefined
    ? mounting
    : await transport({ method: "POST", target, signal });
}

export async function pushManifest(
  transport: Transport,
  repository: string,
  manifest: ManifestPush,
): Promise<PushedManifest | RegistryFailure> {
  const { bytes, mediaType, tag, signal } = manifest;
  const digest = digestOf(bytes);
  const target = `${repositoryPath(repository)}/manifests/${manifestReference(tag ?? digest)}`;
  const answer = await transport({
    method: "PUT",
    target,
    headers: { "content-type": mediaType },
    body: bytes,
    signal,
  });
  if (!answer.ok) return answer;
  await answer.discard();
  if (answer.status !== 201) return await unexpected(answer);
  return { ok: true, digest, subjectListed: answer.headers.has("oci-subject") };
}

/** The place of the upload may change with every answer; it is opaque and may be relative to the registry. */
async function sessionIn(
  answer: RegistryAnswer,
  status: number,
): Promise<{ readonly ok: true; readonly url: string } | RegistryFailure> {
  await answer.discard();
  const location = answer.headers.get("location");
  if (answer.status !== status || location === undefined) return await unexpected(answer);
  return { ok: true, url: location };
}

function withDigest(location: string, digest: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

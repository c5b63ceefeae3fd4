import { bodyProblem, readAnswer } from "./ask.ts";
import type { RegistryAnswer, RegistryFailure } from "./ask.ts";
import type { BlobFailure, BlobPull, FoundManifest, PulledBlob, PulledManifest } from "./client.ts";
import { ContentError, createDigester, digestOf, isDigest, verified } from "./digest.ts";
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from "./media-types.ts";
import { isRepository, isTag } from "./reference.ts";
import type { Transport } from "./transport.ts";

/** What the distribution specification asks registries to accept at least. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

const MANIFEST_TYPES = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");

export async function pullManifest(
  transport: Transport,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<PulledManifest | RegistryFailure> {
  const target = `${repositoryPath(repository)}/manifests/${manifestReference(reference)}`;
  const answer = await transport({ method: "GET", target, headers: { accept: MANIFEST_TYPES }, signal });
  if (!answer.ok) return answer;
  if (answer.status !== 200) return await unexpected(answer);
  const body = await readAnswer(answer, MANIFEST_BYTES_MAX);
  if (!body.ok) return body;
  const digest = digestOf(body.bytes);
  if (isDigest(reference) && digest !== reference) return { ok: false, problem: "digest-mismatch", httpStatus: 200 };
  return { ok: true, bytes: body.bytes, digest, mediaType: mediaTypeOf(answer) };
}

/** A HEAD for what {@link pullManifest} would get. Registries that do not say the digest are asked for the manifest itself. */
export async function findManifest(
  transport: Transport,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<FoundManifest | RegistryFailure> {
  const target = `${repositoryPath(repository)}/manifests/${manifestReference(reference)}`;
  const answer = await transport({ method: "HEAD", target, headers: { accept: MANIFEST_TYPES }, signal });
  if (!answer.ok) return answer.problem === "not-found" ? { ok: true, digest: undefined } : answer;
  await answer.discard();
  const said = answer.headers.get("docker-content-digest");
  if (answer.status === 200 && said !== undefined && isDigest(said)) return { ok: true, digest: said };
  const pulled = await pullManifest(transport, repository, reference, signal);
  return pulled.ok ? { ok: true, digest: pulled.digest } : pulled;
}

/**
 * Guards against a hostile registry: endless data is cut at the first byte beyond the descriptor's size, slow retrieval by
 * the pace, wrong bytes by the digest. A registry that ignores the range sends from the start; what is already there is skipped.
 */
export async function pullBlob(
  transport: Transport,
  repository: string,
  blob: BlobPull,
): Promise<PulledBlob | BlobFailure> {
  const { content, write, signal } = blob;
  const digester = blob.resume ?? createDigester();
  const startBytes = digester.sizeBytes();
  if (startBytes >= content.sizeBytes) {
    if (digester.digest() === content.digest) return { ok: true };
    return { ok: false, problem: "digest-mismatch", receivedBytes: 0 };
  }
  const target = `${repositoryPath(repository)}/blobs/${content.digest}`;
  const headers: Readonly<Record<string, string>> = startBytes > 0 ? { range: `bytes=${startBytes}-` } : {};
  const answer = await transport({ method: "GET", target, headers, signal });
  if (!answer.ok) return { ...rangeFailure(answer), receivedBytes: 0 };
  const skipBytes = bytesToSkip(answer, startBytes);
  if (skipBytes === undefined) return { ...(await unexpected(answer)), receivedBytes: 0 };

  let receivedBytes = 0;
  const source = new SourceOf(skipping(answer.body, skipBytes));
  try {
    for await (const chunk of verified(source, content, digester)) {
      await write(chunk);
      receivedBytes += chunk.byteLength;
    }
    return { ok: true };
  } catch (error) {
    if (error instanceof ContentError) return { ok: false, problem: error.problem, receivedBytes };
    if (source.failure === undefined) throw error;
    return { ok: false, problem: bodyProblem(source.failure.cause), receivedBytes };
  }
}

/** Remembers what its source threw, so that trouble of the network is told from trouble of whoever writes. */
class SourceOf implements AsyncIterable<Uint8Array> {
  failure: { readonly cause: unknown } | undefined;
  readonly #source: AsyncIterable<Uint8Array>;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const iterator = this.#source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator.next().catch((cause: unknown) => {
          this.failure = { cause };
          throw cause;
        });
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
}

async function* skipping(source: AsyncIterable<Uint8Array>, skipBytes: number): AsyncGenerator<Uint8Array> {
  let left = skipBytes;
  for await (const chunk of source) {
    if (left >= chunk.byteLength) left -= chunk.byteLength;
    else {
      yield chunk.subarray(left);
      left = 0;
    }
  }
}

function bytesToSkip(answer: RegistryAnswer, startBytes: number): number | undefined {
  if (answer.status === 200) return startBytes;
  const range = answer.headers.get("content-range") ?? "";
  return answer.status === 206 && range.startsWith(`bytes ${startBytes}-`) ? 0 : undefined;
}

/** A registry that cannot serve the range has fewer bytes than the manifest promised. */
function rangeFailure(failure: RegistryFailure): RegistryFailure {
  return failure.httpStatus === 416 ? { ...failure, problem: "truncated" } : failure;
}

/** Repositories come from parsed references and validated documents; anything else here is a bug. */
export function repositoryPath(repository: string): string {
  if (!isRepository(repository)) throw new Error("not a repository name");
  return `/v2/${repository}`;
}

export function manifestReference(reference: string): string {
  if (!isDigest(reference) && !isTag(reference)) throw new Error("neither a digest nor a tag");
  return reference;
}

export async function unexpected(answer: RegistryAnswer): Promise<RegistryFailure> {
  await answer.discard();
  return { ok: false, problem: "unexpected-status", httpStatus: answer.status };
}

function mediaTypeOf(answer: RegistryAnswer): string {
  return (answer.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

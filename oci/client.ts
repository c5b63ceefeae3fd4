import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import { DEFAULT_ASK_LIMITS, createAsk } from "./ask.ts";
import type { AskLimits, RegistryFailure } from "./ask.ts";
import type { RegistryCredentials } from "./auth.ts";
import type { Descriptor } from "./descriptor.ts";
import type { ContentId, Digester } from "./digest.ts";
import { listReferrers } from "./pull-referrers.ts";
import { findManifest, pullBlob, pullManifest } from "./pull.ts";
import { hasBlob, pushBlob, pushManifest } from "./push.ts";
import { createTransport } from "./transport.ts";

/**
 * A client for one registry (OCI distribution specification 1.1). A registry is untrusted storage: what comes back is
 * what its digest says, or a failure in the words of the contract. Nothing is retried here; whoever calls decides when.
 */
export interface RegistryClient {
  readonly origin: string;
  /** A manifest by digest (verified against it) or by tag (whatever lies there now; its digest is computed). */
  pullManifest(repository: string, reference: string, signal?: AbortSignal): Promise<PulledManifest | RegistryFailure>;
  /** What lies under a digest or a tag now, without fetching it; the digest is undefined where there is nothing. */
  findManifest(repository: string, reference: string, signal?: AbortSignal): Promise<FoundManifest | RegistryFailure>;
  /** Streams a blob into `write`, from where `resume` left off, and is good only when its digest verified at the end. */
  pullBlob(repository: string, blob: BlobPull): Promise<PulledBlob | BlobFailure>;
  /** What refers to a manifest: the referrers API, or the fallback tag of registries without it. */
  listReferrers(repository: string, digest: string, signal?: AbortSignal): Promise<Referrers | RegistryFailure>;
  hasBlob(
    repository: string,
    digest: string,
    signal?: AbortSignal,
  ): Promise<{ readonly ok: true; readonly present: boolean } | RegistryFailure>;
  /** Uploads a blob unless the registry has it, here or in the repository that it may be mounted from. */
  pushBlob(repository: string, blob: BlobPush): Promise<PushedBlob | RegistryFailure>;
  /** Puts a manifest under its digest or under a tag. */
  pushManifest(repository: string, manifest: ManifestPush): Promise<PushedManifest | RegistryFailure>;
}

export interface PulledManifest {
  readonly ok: true;
  readonly bytes: Uint8Array;
  readonly digest: string;
  readonly mediaType: string;
}

export interface FoundManifest {
  readonly ok: true;
  /** What the registry says, which is proved only by pulling it. */
  readonly digest: string | undefined;
}

export interface BlobPull {
  readonly content: ContentId;
  /** Called with each piece in order; awaited, so that a slow reader slows the download. What it throws passes through. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** A digester that has seen the bytes which are already there; the download continues after them. */
  readonly resume?: Digester;
  readonly signal?: AbortSignal;
}

export interface PulledBlob {
  readonly ok: true;
}

export interface BlobFailure extends RegistryFailure {
  /** Bytes that were handed to `write` in this call: worth keeping for a resume unless the problem is `digest-mismatch`. */
  readonly receivedBytes: number;
}

export interface Referrers {
  readonly ok: true;
  readonly via: "referrers-api" | "fallback-tag";
  readonly descriptors: readonly Descriptor[];
}

export interface BlobPush {
  readonly content: ContentId;
  /** Any part of the content, so that a large file is never wholly in memory. */
  readonly read: (offset: number, length: number) => Promise<Uint8Array>;
  /** Another repository of the same registry that has the blob; it is read from `read` where that cannot be done. */
  readonly mountFrom?: string;
  readonly signal?: AbortSignal;
}

export interface PushedBlob {
  readonly ok: true;
  readonly how: "present" | "mounted" | "uploaded";
}

export interface ManifestPush {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  /** Left out, the manifest is put under its digest alone. */
  readonly tag?: string;
  readonly signal?: AbortSignal;
}

export interface PushedManifest {
  readonly ok: true;
  readonly digest: string;
  /** True when the registry said that it keeps the manifest's `subject` in its referrers list. */
  readonly subjectListed: boolean;
}

export interface RegistryClientOptions {
  /** From `registryBase`, which decides where unencrypted HTTP is allowed. */
  readonly origin: string;
  readonly credentials?: RegistryCredentials;
  readonly limits?: Partial<AskLimits>;
}

export function createRegistryClient(
  ports: { readonly http: HttpClient; readonly clock: Clock },
  options: RegistryClientOptions,
): RegistryClient {
  const ask = createAsk(ports, { ...DEFAULT_ASK_LIMITS, ...options.limits });
  const transport = createTransport(ask, options);
  return {
    origin: options.origin,
    pullManifest: (repository, reference, signal) => pullManifest(transport, repository, reference, signal),
    findManifest: (repository, reference, signal) => findManifest(transport, repository, reference, signal),
    pullBlob: (repository, blob) => pullBlob(transport, repository, blob),
    listReferrers: (repository, digest, signal) => listReferrers(transport, repository, digest, signal),
    hasBlob: (repository, digest, signal) => hasBlob(transport, repository, digest, signal),
    pushBlob: (repository, blob) => pushBlob(transport, repository, blob),
    pushManifest: (repository, manifest) => pushManifest(transport, repository, manifest),
  };
}

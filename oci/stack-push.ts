import { MEDIA_TYPES } from "@muto/spec";
import type { RegistryFailure } from "./ask.ts";
import { BlobSourceError, bytesSource } from "./blob-source.ts";
import type { BlobSource } from "./blob-source.ts";
import type { RegistryClient } from "./client.ts";
import type { ContentId } from "./digest.ts";
import { OCI_MANIFEST } from "./media-types.ts";
import { stackImages } from "./stack-artifact.ts";
import type { StackLayer } from "./stack-artifact.ts";
import type { BuiltStack } from "./stack-build.ts";

export interface StackPushOptions {
  /** Put on the artifact's manifest; a name for people. */
  readonly tag?: string;
  readonly signal?: AbortSignal;
  /** Told of every blob in turn: before the first byte, after each piece, and when it is done. */
  readonly onProgress?: (progress: PushProgress) => void;
}

export interface PushProgress {
  readonly digest: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Bytes handed to the connection so far. */
  readonly sentBytes: number;
  /** `present`: the registry had it; `mounted`: the registry took it from another of its repositories. */
  readonly state: "sending" | "present" | "mounted" | "uploaded";
  /** Position among all blobs, from 1. */
  readonly index: number;
  readonly count: number;
}

export interface PushedStack {
  readonly ok: true;
  readonly manifestDigest: string;
  /** Bytes of blobs that had to be uploaded; 0 when everything was there. */
  readonly uploadedBytes: number;
}

export interface PushFailure {
  readonly ok: false;
  /** `source-failed`: the bytes of a blob could not be read where they come from. */
  readonly problem: RegistryFailure["problem"] | "source-failed";
  readonly httpStatus?: number;
  /** The blob or manifest at which it ended. */
  readonly digest: string;
  readonly detail?: string;
}

/**
 * Blobs first, then the images' manifests, the artifact's manifest last: a registry never holds a manifest whose parts are missing.
 * Everything is asked for before it is sent, so that pushing again goes on where it ended, and sends nothing when all is there.
 */
export async function pushStackArtifact(
  ports: { readonly client: RegistryClient },
  repository: string,
  built: BuiltStack,
  options: StackPushOptions = {},
): Promise<PushedStack | PushFailure> {
  const { artifact, configBytes, manifestBytes } = built;
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  const config = { ...artifact.config, mediaType: MEDIA_TYPES.stackManifest };
  const images = new Set(stackImages(artifact).map(({ digest }) => digest));
  const blobs = [...artifact.layers.filter(({ digest }) => !images.has(digest)), config];
  const count = blobs.length + images.size;
  let uploadedBytes = 0;
  const sources = new Map([...built.blobs, [config.digest, bytesSource(configBytes)]]);
  const push = async (layer: StackLayer, index: number): Promise<PushFailure | undefined> => {
    const source = sources.get(layer.digest);
    if (source === undefined) throw new Error("a blob of the stack was not built");
    const report = (state: PushProgress["state"], sentBytes: number) =>
      options.onProgress?.({ ...layer, state, sentBytes, index, count });
    const pushed = await pushOne({ ...ports, repository, layer, source, report, ...signal });
    if (!pushed.ok) return pushed;
    if (pushed.how === "uploaded") uploadedBytes += layer.sizeBytes;
    report(pushed.how, layer.sizeBytes);
    return undefined;
  };
  for (const [index, layer] of blobs.entries()) {
    const failure = await push(layer, index + 1);
    if (failure !== undefined) return failure;
  }
  // An image's manifest lies there twice: as a manifest, for engines that pull it by digest, and as a blob, for vehicles.
  for (const [index, layer] of stackImages(artifact).entries()) {
    const bytes = await wholeOf(sources.get(layer.digest), layer);
    const put = await putManifest(ports.client, repository, { ...layer, bytes }, options);
    if (!put.ok) return { ...put, digest: layer.digest };
    const failure = await push(layer, blobs.length + index + 1);
    if (failure !== undefined) return failure;
  }
  const { manifestDigest: digest } = artifact;
  const top = { digest, mediaType: OCI_MANIFEST, bytes: manifestBytes };
  const put = await putManifest(ports.client, repository, top, options, options.tag);
  return put.ok ? { ok: true, manifestDigest: digest, uploadedBytes } : { ...put, digest };
}

interface OnePush {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly layer: StackLayer;
  readonly source: BlobSource;
  readonly report: (state: "sending", sentBytes: number) => void;
  readonly signal?: AbortSignal;
}

async function pushOne(
  one: OnePush,
): Promise<{ readonly ok: true; readonly how: "present" | "mounted" | "uploaded" } | PushFailure> {
  const { client, repository, layer, source, report, signal } = one;
  const opened = lazily(source, signal);
  const { digest, sizeBytes } = layer;
  const mountFrom = source.origin?.registry === client.origin ? source.origin.repository : undefined;
  const read = async (offset: number, length: number) => {
    report("sending", offset);
    return await opened.read(offset, length);
  };
  try {
    const pushed = await client.pushBlob(repository, {
      content: { digest, sizeBytes },
      read,
      ...(mountFrom === undefined || mountFrom === repository ? {} : { mountFrom }),
      ...(signal === undefined ? {} : { signal }),
    });
    return pushed.ok ? pushed : { ...pushed, digest };
  } catch (error) {
    if (!(error instanceof BlobSourceError)) throw error;
    return { ok: false, problem: "source-failed", digest, detail: error.message };
  } finally {
    await opened.close();
  }
}

/** Opens the source at the first read: what the registry has already is never fetched or opened. */
function lazily(source: BlobSource, signal: AbortSignal | undefined) {
  let opening: ReturnType<BlobSource["open"]> | undefined;
  return {
    read: async (offset: number, length: number) => {
      opening ??= source.open(signal);
      return await (await opening).read(offset, length);
    },
    close: async () => {
      const opened = await opening?.catch(() => undefined);
      await opened?.[Symbol.asyncDispose]();
    },
  };
}

async function wholeOf(source: BlobSource | undefined, { sizeBytes }: ContentId): Promise<Uint8Array> {
  if (source === undefined) throw new Error("the manifest of an image was not built");
  await using opened = await source.open();
  return await opened.read(0, sizeBytes);
}

/** Nothing is put where it lies already. */
async function putManifest(
  client: RegistryClient,
  repository: string,
  manifest: { readonly digest: string; readonly mediaType: string; readonly bytes: Uint8Array },
  options: StackPushOptions,
  tag?: string,
): Promise<{ readonly ok: true } | RegistryFailure> {
  const { digest, mediaType, bytes } = manifest;
  const found = await client.findManifest(repository, tag ?? digest, options.signal);
  if (!found.ok) return found;
  if (found.digest === digest) return { ok: true };
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  return await client.pushManifest(repository, { bytes, mediaType, ...(tag === undefined ? {} : { tag }), ...signal });
}

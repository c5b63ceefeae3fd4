import type { Clock } from "@muto/kit/clock";
import type { Disk } from "@muto/kit/disk";
import type { Random } from "@muto/kit/random";
import { isDigest } from "../digest.ts";
import { errorReply } from "./answers.ts";
import type { Reply } from "./answers.ts";
import type { RegistryStore } from "./store.ts";
import { startUpload } from "./upload-session.ts";
import type { UploadSession } from "./upload-session.ts";

/** All uploads under way. They do not outlive the process: a client that comes back is told to start again. */
export interface Uploads extends AsyncDisposable {
  open(repository: string): Promise<Reply>;
  append(chunk: UploadChunk): Promise<Reply>;
  finish(chunk: UploadChunk & { readonly digest: string | undefined }): Promise<Reply>;
  status(repository: string, id: string): Reply;
  cancel(repository: string, id: string): Promise<Reply>;
  /** POST with a digest: the whole content in one request. */
  whole(repository: string, digest: string, body: AsyncIterable<Uint8Array>): Promise<Reply>;
}

export interface UploadChunk {
  readonly repository: string;
  readonly id: string;
  readonly contentRange: string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface UploadLimits {
  readonly uploadsMax: number;
  readonly uploadIdleMsMax: number;
  readonly blobBytesMax: number;
}

export function createUploads(
  ports: { readonly disk: Disk; readonly clock: Clock; readonly random: Random },
  store: RegistryStore,
  limits: UploadLimits,
): Uploads {
  const sessions = new Map<string, UploadSession>();

  const start = async (repository: string): Promise<UploadSession | undefined> => {
    const oldestMs = ports.clock.monotonicMs() - limits.uploadIdleMsMax;
    for (const session of sessions.values()) if ((session.idleSinceMs() ?? oldestMs) < oldestMs) await session.cancel();
    if (sessions.size >= limits.uploadsMax) return undefined;
    const id = Buffer.from(ports.random.bytes(16)).toString("hex");
    const session = await startUpload(ports, {
      id,
      repository,
      path: store.temporaryPath(id),
      blobBytesMax: limits.blobBytesMax,
      adopt: (path, digest) => store.adoptBlob(path, digest),
      onOver: () => sessions.delete(id),
    });
    sessions.set(id, session);
    return session;
  };

  const find = (repository: string, id: string) => {
    const session = sessions.get(id);
    return session?.repository === repository ? session : undefined;
  };

  return {
    open: async (repository) => {
      const session = await start(repository);
      return session === undefined ? tooMany() : { status: 202, headers: session.progress() };
    },
    append: async ({ repository, id, contentRange, body }) =>
      (await find(repository, id)?.append(body, contentRange)) ?? unknownUpload(),
    finish: async ({ repository, id, contentRange, body, digest }) => {
      if (digest === undefined || !isDigest(digest)) return errorReply("DIGEST_INVALID", "not a sha256 digest");
      return (await find(repository, id)?.finish(body, contentRange, digest)) ?? unknownUpload();
    },
    status: (repository, id) => {
      const session = find(repository, id);
      return session === undefined ? unknownUpload() : { status: 204, headers: session.progress() };
    },
    cancel: async (repository, id) => (await find(repository, id)?.cancel()) ?? unknownUpload(),
    whole: async (repository, digest, body) => {
      if (!isDigest(digest)) return errorReply("DIGEST_INVALID", "not a sha256 digest");
      return (await (await start(repository))?.finish(body, undefined, digest)) ?? tooMany();
    },
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions.values()) await session.cancel();
    },
  };
}

function unknownUpload(): Reply {
  return errorReply("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
}

function tooMany(): Reply {
  return errorReply("TOOMANYREQUESTS", "too many uploads at once");
}

import type { Clock } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import type { Disk, DiskFile } from "@muto/kit/disk";
import { createDigester } from "../digest.ts";
import type { Digester } from "../digest.ts";
import { errorReply } from "./answers.ts";
import type { Reply } from "./answers.ts";

export interface UploadSessionOptions {
  readonly id: string;
  readonly repository: string;
  readonly path: string;
  readonly blobBytesMax: number;
  readonly adopt: (path: string, digest: string) => Promise<void>;
  readonly onOver: () => void;
}

export async function startUpload(
  ports: { readonly disk: Disk; readonly clock: Clock },
  options: UploadSessionOptions,
): Promise<UploadSession> {
  return new UploadSession(ports, options, await ports.disk.open(options.path, "create", 0o644));
}

/** One upload under way: a temporary file that is hashed while it is written. */
export class UploadSession {
  readonly repository: string;
  readonly #ports: { readonly disk: Disk; readonly clock: Clock };
  readonly #options: UploadSessionOptions;
  readonly #file: DiskFile;
  readonly #digester = createDigester();
  #state: "idle" | "busy" | "over" = "idle";
  #lastMs: number;

  constructor(ports: { readonly disk: Disk; readonly clock: Clock }, options: UploadSessionOptions, file: DiskFile) {
    this.repository = options.repository;
    this.#ports = ports;
    this.#options = options;
    this.#file = file;
    this.#lastMs = ports.clock.monotonicMs();
  }

  /** When it was last used, in monotonic milliseconds; undefined while a request is writing. */
  idleSinceMs(): number | undefined {
    return this.#state === "idle" ? this.#lastMs : undefined;
  }

  progress(): Readonly<Record<string, string>> {
    return {
      location: `/v2/${this.repository}/blobs/uploads/${this.#options.id}`,
      range: `0-${Math.max(0, this.#digester.sizeBytes() - 1)}`,
    };
  }

  /** Appends a body that must continue where the last one ended. */
  append(body: AsyncIterable<Uint8Array>, contentRange: string | undefined): Promise<Reply> {
    return this.#alone(async () => (await this.#take(body, contentRange)) ?? { status: 202, headers: this.progress() });
  }

  /** Appends a last body and hands the file over when the whole has the digest. */
  finish(body: AsyncIterable<Uint8Array>, contentRange: string | undefined, digest: string): Promise<Reply> {
    return this.#alone(async () => (await this.#take(body, contentRange)) ?? (await this.#complete(digest)));
  }

  cancel(): Promise<Reply> {
    return this.#alone(async () => {
      await this.#drop();
      return { status: 204 };
    });
  }

  /** Two requests that write at the same time would interleave. */
  async #alone(work: () => Promise<Reply>): Promise<Reply> {
    if (this.#state !== "idle") {
      return errorReply("BLOB_UPLOAD_INVALID", "another request is writing to this upload", this.progress());
    }
    this.#state = "busy";
    try {
      return await work();
    } finally {
      this.#lastMs = this.#ports.clock.monotonicMs();
      if (!this.#isOver()) this.#state = "idle";
    }
  }

  #isOver(): boolean {
    return this.#state === "over";
  }

  /** Undefined when everything was taken; after a broken request nothing of the upload can be trusted. */
  async #take(body: AsyncIterable<Uint8Array>, contentRange: string | undefined): Promise<Reply | undefined> {
    if (!continues(contentRange, this.#digester.sizeBytes())) {
      return errorReply("BLOB_UPLOAD_INVALID", "the chunk does not follow the one before", this.progress());
    }
    const written = writeAll(body, this.#file, this.#digester, this.#options.blobBytesMax);
    const refusal = await written.catch(async (error: unknown) => {
      await this.#drop();
      throw error;
    });
    if (refusal !== undefined) await this.#drop();
    return refusal;
  }

  async #complete(digest: string): Promise<Reply> {
    if (this.#digester.digest() !== digest) {
      await this.#drop();
      return errorReply("DIGEST_INVALID", "the content does not have the named digest");
    }
    await this.#file.sync();
    await this.#end();
    await this.#options.adopt(this.#options.path, digest);
    const location = `/v2/${this.repository}/blobs/${digest}`;
    return { status: 201, headers: { location, "docker-content-digest": digest } };
  }

  async #drop(): Promise<void> {
    await this.#end();
    await this.#ports.disk.remove(this.#options.path);
  }

  async #end(): Promise<void> {
    this.#state = "over";
    this.#options.onOver();
    await this.#file.close();
  }
}

async function writeAll(
  body: AsyncIterable<Uint8Array>,
  file: DiskFile,
  digester: Digester,
  bytesMax: number,
): Promise<Reply | undefined> {
  try {
    for await (const chunk of body) {
      if (digester.sizeBytes() + chunk.byteLength > bytesMax) {
        return errorReply("SIZE_INVALID", "the blob is larger than this registry takes");
      }
      await file.write(digester.sizeBytes(), chunk);
      digester.update(chunk);
    }
    return undefined;
  } catch (error) {
    if (error instanceof DiskError) throw error;
    // The client went away in mid-sentence; the answer will hardly reach it.
    return errorReply("BLOB_UPLOAD_INVALID", "the request ended early");
  }
}

/** A chunk without a range is taken where the last one ended; one with a range must say the same. */
function continues(contentRange: string | undefined, sizeBytes: number): boolean {
  if (contentRange === undefined) return true;
  const start = /^([0-9]{1,15})-[0-9]{1,15}$/.exec(contentRange)?.[1];
  return start !== undefined && Number(start) === sizeBytes;
}

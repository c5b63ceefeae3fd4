import { join } from "node:path";
import type { Disk, DiskFile } from "@muto/kit/disk";
import { ContentError, createDigester, digestHex } from "@muto/oci/digest";
import type { ContentId, ContentProblem, Digester } from "@muto/oci/digest";

/**
 * One blob on its way in. Fits the registry client: `resume` is what it continues after, `write` is what it feeds. Closing
 * without {@link Download.finish} keeps what was fetched for the next try.
 */
export interface Download extends AsyncDisposable {
  /** Has seen every byte that is already there; meant for the source, the store does not rely on it. */
  readonly resume: Digester;
  /** Where the source has to go on. */
  readonly offsetBytes: number;
  /** Throws a ContentError `too-large` at the first byte beyond the blob's size, and a DiskError when the disk refuses. */
  write(chunk: Uint8Array): Promise<void>;
  /** Verifies what this store itself wrote, and makes it durable. A wrong blob is removed, a short one kept to be resumed. */
  finish(): Promise<StoreResult>;
}

export type StoreResult = { readonly ok: true } | { readonly ok: false; readonly problem: ContentProblem };

/**
 * No byte beyond a multiple of this is written before everything up to it is synced. So after a power cut all bytes up to
 * the last multiple are good, whatever the file system made of the rest, and the running stack never waits for a mountain
 * of dirty pages.
 */
export const SYNC_EVERY_BYTES = 8 * 1024 * 1024;
const HASH_BYTES = 1024 * 1024;

interface Place {
  readonly disk: Disk;
  readonly folder: string;
  readonly content: ContentId;
  /** By digest, how much of a partial blob this process itself wrote or hashed. */
  readonly fetchedHere: Map<string, number>;
  readonly busy: Set<string>;
  readonly syncEveryBytes: number;
}

export async function openDownload(place: Place): Promise<Download> {
  const { disk, folder, content, busy } = place;
  if (busy.has(content.digest)) throw new Error("a blob is fetched once at a time");
  busy.add(content.digest);
  const path = join(folder, `${digestHex(content.digest)}.part`);
  let file: DiskFile | undefined;
  try {
    file = await disk.open(path, (await disk.stat(path)) === undefined ? "create" : "update");
    const kept = await keepWhatIsGood(place, file);
    return new FileDownload(place, path, file, kept);
  } catch (error) {
    await file?.close();
    busy.delete(content.digest);
    throw error;
  }
}

interface Kept {
  readonly own: Digester;
  readonly resume: Digester;
}

async function keepWhatIsGood({ content, fetchedHere, syncEveryBytes }: Place, file: DiskFile): Promise<Kept> {
  const lengthBytes = await file.sizeBytes();
  const syncedBytes = Math.floor(Math.max(0, lengthBytes - 1) / syncEveryBytes) * syncEveryBytes;
  const goodBytes = Math.min(lengthBytes, fetchedHere.get(content.digest) ?? syncedBytes);
  const keptBytes = goodBytes > content.sizeBytes ? 0 : goodBytes;
  await file.truncate(keptBytes);
  const kept = { own: createDigester(), resume: createDigester() };
  while (kept.own.sizeBytes() < keptBytes) {
    const offset = kept.own.sizeBytes();
    const chunk = await file.read(offset, Math.min(HASH_BYTES, keptBytes - offset));
    if (chunk.byteLength === 0) break;
    kept.own.update(chunk);
    kept.resume.update(chunk);
  }
  fetchedHere.set(content.digest, kept.own.sizeBytes());
  return kept;
}

class FileDownload implements Download {
  readonly resume: Digester;
  readonly offsetBytes: number;
  readonly #place: Place;
  readonly #path: string;
  readonly #file: DiskFile;
  readonly #own: Digester;
  #closed = false;

  constructor(place: Place, path: string, file: DiskFile, { own, resume }: Kept) {
    this.#place = place;
    this.#path = path;
    this.#file = file;
    this.#own = own;
    this.resume = resume;
    this.offsetBytes = own.sizeBytes();
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#own.sizeBytes() + chunk.byteLength > this.#place.content.sizeBytes) {
      await this.#discard();
      throw new ContentError("too-large");
    }
    const { syncEveryBytes } = this.#place;
    for (let taken = 0; taken < chunk.byteLength;) {
      const at = this.#own.sizeBytes();
      const untilSync = syncEveryBytes - (at % syncEveryBytes);
      const piece = chunk.subarray(taken, taken + untilSync);
      await this.#file.write(at, piece);
      this.#own.update(piece);
      this.#place.fetchedHere.set(this.#place.content.digest, at + piece.byteLength);
      taken += piece.byteLength;
      if (piece.byteLength === untilSync) await this.#sync();
    }
  }

  async finish(): Promise<StoreResult> {
    const { disk, folder, content, fetchedHere } = this.#place;
    if (this.#own.sizeBytes() < content.sizeBytes) return { ok: false, problem: "truncated" };
    if (this.#own.digest() !== content.digest) {
      await this.#discard();
      return { ok: false, problem: "digest-mismatch" };
    }
    await this.#sync();
    await this.#close();
    await disk.rename(this.#path, join(folder, digestHex(content.digest)));
    await disk.syncFolder(folder);
    fetchedHere.delete(content.digest);
    return { ok: true };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** After a failed sync nobody knows what is on the medium, and a second one would lie: what was fetched is thrown away. */
  async #sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      await this.#discard().catch(() => {});
      throw error;
    }
  }

  async #discard(): Promise<void> {
    const { disk, content, fetchedHere } = this.#place;
    await disk.remove(this.#path);
    fetchedHere.delete(content.digest);
    await this.#close();
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#place.busy.delete(this.#place.content.digest);
    await this.#file.close();
  }
}

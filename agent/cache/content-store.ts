import { join } from "node:path";
import { DiskError } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { ContentError, createDigester, digestHex } from "@muto/oci/digest";
import type { ContentId } from "@muto/oci/digest";
import { openDownload, SYNC_EVERY_BYTES } from "./download.ts";
import type { Download, StoreResult } from "./download.ts";

/**
 * Blobs by digest, `FOLDER/HEX` each. A blob is there only when it was verified whole and is durable; what is still being
 * fetched lies beside it as `HEX.part`. Bytes that several sets share are stored once.
 *
 * Every method rejects with a DiskError when the disk refuses.
 */
export interface ContentStore {
  has(digest: string): Promise<boolean>;
  sizeBytes(digest: string): Promise<number | undefined>;
  /** Begins or resumes fetching a blob. One at a time for each digest; close it, or it blocks the next. */
  begin(content: ContentId): Promise<Download>;
  /** Takes a blob from a stream that begins at its first byte, as from a file on a stick. */
  ingest(content: ContentId, source: AsyncIterable<Uint8Array>): Promise<StoreResult>;
  /** Hashes a blob again. A damaged one is removed, so that it is fetched again and never used. */
  verify(digest: string): Promise<"intact" | "missing" | "damaged">;
  /** Not verified on the way; the stream rejects with a DiskError ENOENT when there is no such blob. */
  openRead(digest: string): AsyncIterable<Uint8Array>;
  list(): Promise<readonly StoredBlob[]>;
  /** Removes a blob and what was fetched of it; a missing one is no error. */
  remove(digest: string): Promise<void>;
}

export interface StoredBlob {
  readonly digest: string;
  readonly sizeBytes: number;
  /** False for the beginning of a blob that is being fetched. */
  readonly complete: boolean;
}

const READ_BYTES = 1024 * 1024;
const STORED_NAME = /^([0-9a-f]{64})(\.part)?$/;

/** Opens the store; what it finds is made durable before it counts, as a killed process may not have done it. */
export async function openContentStore(
  disk: Disk,
  folder: string,
  { syncEveryBytes = SYNC_EVERY_BYTES }: { readonly syncEveryBytes?: number } = {},
): Promise<ContentStore> {
  await disk.makeFolder(folder);
  await disk.syncFolder(folder);
  const fetchedHere = new Map<string, number>();
  const busy = new Set<string>();
  const pathOf = (digest: string) => join(folder, digestHex(digest));

  const store: ContentStore = {
    has: async (digest) => (await store.sizeBytes(digest)) !== undefined,
    sizeBytes: async (digest) => (await disk.stat(pathOf(digest)))?.sizeBytes,
    begin: (content) => openDownload({ disk, folder, content, fetchedHere, busy, syncEveryBytes }),
    ingest: async (content, source) => {
      await disk.remove(`${pathOf(content.digest)}.part`);
      await using download = await store.begin(content);
      try {
        for await (const chunk of source) await download.write(chunk);
      } catch (error) {
        if (error instanceof ContentError) return { ok: false, problem: error.problem };
        throw error;
      }
      return await download.finish();
    },
    verify: async (digest) => {
      // Memory errs more often than a medium does, and a good blob may be the only way back: only two readings condemn it.
      if (await isWhole(disk, pathOf(digest), digest)) return "intact";
      if (!(await store.has(digest))) return "missing";
      if (await isWhole(disk, pathOf(digest), digest)) return "intact";
      await store.remove(digest);
      return "damaged";
    },
    openRead: (digest) => chunksOf(disk, pathOf(digest)),
    list: async () => {
      const blobs: StoredBlob[] = [];
      for (const { name } of await disk.list(folder)) {
        const [, hex, part] = STORED_NAME.exec(name) ?? [];
        const found = hex === undefined ? undefined : await disk.stat(join(folder, name));
        if (hex === undefined || found === undefined) continue;
        blobs.push({ digest: `sha256:${hex}`, sizeBytes: found.sizeBytes, complete: part === undefined });
      }
      return blobs;
    },
    remove: async (digest) => {
      await disk.remove(pathOf(digest));
      await disk.remove(`${pathOf(digest)}.part`);
      fetchedHere.delete(digest);
    },
  };
  return store;
}

/** What of some blobs is not there yet, for the disk gate and for downloads. */
export async function missingOf(
  store: ContentStore,
  blobs: readonly ContentId[],
): Promise<{ readonly blobs: readonly ContentId[]; readonly bytes: number }> {
  const stored = new Map((await store.list()).map((blob) => [`${blob.digest} ${blob.complete}`, blob.sizeBytes]));
  const wanted = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
  const missing = wanted.filter(({ digest }) => !stored.has(`${digest} true`));
  const bytes = missing.reduce(
    (sum, { digest, sizeBytes }) => sum + Math.max(0, sizeBytes - (stored.get(`${digest} false`) ?? 0)),
    0,
  );
  return { blobs: missing, bytes };
}

async function isWhole(disk: Disk, path: string, digest: string): Promise<boolean> {
  const digester = createDigester();
  try {
    for await (const chunk of chunksOf(disk, path)) digester.update(chunk);
  } catch (error) {
    if (error instanceof DiskError && error.code === "ENOENT") return false;
    throw error;
  }
  return digester.digest() === digest;
}

async function* chunksOf(disk: Disk, path: string): AsyncGenerator<Uint8Array> {
  await using file = await disk.open(path, "read");
  for (let offset = 0; ;) {
    const chunk = await file.read(offset, READ_BYTES);
    if (chunk.byteLength === 0) return;
    offset += chunk.byteLength;
    yield chunk;
  }
}

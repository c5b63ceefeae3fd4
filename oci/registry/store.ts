import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { removeLeftovers, writeDurably } from "@muto/kit/durable-file";
import { isRecord, parseDescriptor } from "../descriptor.ts";
import type { Descriptor } from "../descriptor.ts";
import { digestHex, isDigest } from "../digest.ts";

/**
 * The registry's content on disk. `blobs/<hex>` holds every content once, whatever repository pushed it; a repository is
 * its manifests, tags and referrers, each a small file that is replaced as a whole. A manifest exists in a repository when
 * its record does, and the record is written last.
 */
export interface RegistryStore {
  /** Where the bytes of a blob are, or undefined. */
  findBlob(digest: string): Promise<{ readonly path: string; readonly sizeBytes: number } | undefined>;
  readBlob(digest: string): Promise<Uint8Array | undefined>;
  /** Adopts a complete, verified and synced temporary file. */
  adoptBlob(temporary: string, digest: string): Promise<void>;
  writeBlob(digest: string, bytes: Uint8Array): Promise<void>;
  putManifest(repository: string, manifest: StoredManifest): Promise<void>;
  findManifest(repository: string, digest: string): Promise<{ readonly mediaType: string } | undefined>;
  putTag(repository: string, tag: string, digest: string): Promise<void>;
  findTag(repository: string, tag: string): Promise<string | undefined>;
  /** Undefined when the repository is unknown. */
  listTags(repository: string): Promise<readonly string[] | undefined>;
  listReferrers(repository: string, digest: string): Promise<readonly Descriptor[]>;
  /** A fresh path for an upload. */
  temporaryPath(name: string): string;
}

export interface StoredManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly referrer?: { readonly subject: string; readonly descriptor: Readonly<Record<string, unknown>> } | undefined;
}

/** Opens the folder: unfinished uploads of an earlier run are removed, because their sessions are gone. */
export async function openStore(disk: Disk, folder: string): Promise<RegistryStore> {
  const blobs = join(folder, "blobs");
  const uploads = join(folder, "uploads");
  await disk.remove(uploads);
  for (const path of [blobs, uploads, join(folder, "repositories")]) await disk.makeFolder(path);
  await removeLeftovers(disk, blobs);

  const blobPath = (digest: string) => join(blobs, digestHex(digest));
  const inRepository = (repository: string, ...parts: readonly string[]) =>
    join(folder, "repositories", repository.replaceAll("/", "+"), ...parts);
  const write = createWriter(disk);

  return {
    findBlob: async (digest) => {
      const found = await disk.stat(blobPath(digest));
      return found === undefined ? undefined : { path: blobPath(digest), sizeBytes: found.sizeBytes };
    },
    readBlob: (digest) => disk.read(blobPath(digest)),
    adoptBlob: async (temporary, digest) => {
      await disk.rename(temporary, blobPath(digest));
      await disk.syncFolder(blobs);
    },
    writeBlob: async (digest, bytes) => {
      if ((await disk.stat(blobPath(digest))) === undefined) await write(blobs, digestHex(digest), bytes);
    },
    putManifest: async (repository, { digest, mediaType, referrer }) => {
      if (referrer !== undefined) {
        const of = inRepository(repository, "referrers", digestHex(referrer.subject));
        await write(of, digestHex(digest), jsonBytes(referrer.descriptor));
      }
      await write(inRepository(repository, "manifests"), digestHex(digest), jsonBytes({ mediaType }));
    },
    findManifest: async (repository, digest) => {
      const record = await readJson(disk, inRepository(repository, "manifests", digestHex(digest)));
      const mediaType = isRecord(record) ? record["mediaType"] : undefined;
      return typeof mediaType === "string" ? { mediaType } : undefined;
    },
    putTag: (repository, tag, digest) => write(inRepository(repository, "tags"), tag, Buffer.from(digest, "utf8")),
    findTag: async (repository, tag) => {
      const bytes = await disk.read(inRepository(repository, "tags", tag));
      const digest = bytes === undefined ? "" : Buffer.from(bytes).toString("utf8");
      return isDigest(digest) ? digest : undefined;
    },
    listTags: async (repository) => {
      if ((await disk.stat(inRepository(repository, "manifests"))) === undefined) return undefined;
      const entries = await disk.list(inRepository(repository, "tags"));
      return entries.map(({ name }) => name).filter((name) => !name.includes("~"));
    },
    listReferrers: async (repository, digest) => {
      const of = inRepository(repository, "referrers", digestHex(digest));
      const found: Descriptor[] = [];
      for (const { name } of await disk.list(of)) {
        if (!isDigest(`sha256:${name}`)) continue;
        const descriptor = parseDescriptor(await readJson(disk, join(of, name)));
        if (descriptor !== undefined) found.push(descriptor);
      }
      return found;
    },
    temporaryPath: (name) => join(uploads, name),
  };
}

/** Writes one small file after the other, because two writers of one path would step on each other. */
function createWriter(disk: Disk): (folder: string, name: string, bytes: Uint8Array) => Promise<void> {
  let last: Promise<unknown> = Promise.resolve();
  return (folder, name, bytes) => {
    const turn = last.then(async () => {
      await disk.makeFolder(folder);
      await writeDurably(disk, join(folder, name), bytes);
    });
    last = turn.catch(() => {});
    return turn;
  };
}

async function readJson(disk: Disk, path: string): Promise<unknown> {
  const bytes = await disk.read(path);
  if (bytes === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

function jsonBytes(value: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify(value), "utf8"));
}

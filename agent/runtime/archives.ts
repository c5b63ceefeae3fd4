import { join } from "node:path";
import { DiskError, type Disk } from "@muto/kit/disk";
import { writeDurably } from "@muto/kit/durable-file";
import { ContentError, createDigester, digestHex, type Digester } from "@muto/oci/digest";
import { encodeListing, parseListing, verifyTree } from "@muto/oci/tree";
import { unpack, type UnpackLimits } from "@muto/oci/unpack";
import type { BlobReader, PrepareResult, SetOnDisk } from "../ports.ts";

/**
 * The archives of a set, unpacked: `FOLDER/HEX/` and, durable after it, `FOLDER/HEX.tree.json`, the list of everything in
 * it. Without its list a tree counts as not prepared; what a crash leaves half done has none.
 */
export interface Archives {
  prepare(set: SetOnDisk, blobs: BlobReader, signal: AbortSignal): Promise<PrepareResult>;
  verify(set: SetOnDisk): Promise<boolean>;
  /** Removes the trees that were replaced under something that ran, unless something of the set still runs. */
  dropAsides(set: SetOnDisk, isRunning: () => Promise<boolean>): Promise<void>;
}

export function archiveFolder(set: SetOnDisk, digest: string): string {
  return join(set.folder, digestHex(digest));
}

export function unpackedArchives(disk: Disk, limits: Partial<UnpackLimits> = {}): Archives {
  return {
    prepare: async (set, blobs, signal) => {
      try {
        await disk.makeFolder(set.folder);
        for (const digest of archivesOf(set)) {
          signal.throwIfAborted();
          if (await isWhole(disk, set, digest)) continue;
          const refusal = await unpackOne(disk, set, digest, (wanted) => untilAborted(blobs(wanted), signal), limits);
          if (refusal !== undefined) return refusal;
        }
        return { ok: true };
      } catch (error) {
        return asPrepareResult(error);
      }
    },
    verify: async (set) => {
      try {
        for (const digest of archivesOf(set)) if (!(await isWhole(disk, set, digest))) return false;
        return true;
      } catch (error) {
        // Bytes that cannot be read are not proved to be the right ones.
        if (error instanceof DiskError) return false;
        throw error;
      }
    },
    dropAsides: async (set, isRunning) => {
      const asides = (await disk.list(set.folder)).filter(({ name }) => ASIDE.test(name));
      if (asides.length === 0 || (await isRunning())) return;
      for (const { name } of asides) await disk.remove(join(set.folder, name));
    },
  };
}

const ASIDE = /\.aside-[0-9]+$/;

/**
 * The tree takes its final name before its list is written, so that a list always speaks of a tree that is there. What
 * went bad on this disk is no fault of the release and must not ban it (H14): only bytes that have their digest can be a
 * malformed archive.
 */
async function unpackOne(
  disk: Disk,
  set: SetOnDisk,
  digest: string,
  blobs: BlobReader,
  limits: Partial<UnpackLimits>,
): Promise<PrepareResult | undefined> {
  const folder = archiveFolder(set, digest);
  const partial = `${folder}.partial`;
  await disk.remove(listingPath(folder));
  await disk.remove(partial);
  const digester = createDigester();
  const unpacked = await unpack(disk, hashed(blobs(digest), digester), { folder: partial, limits });
  if ((unpacked.ok ? digester.digest() : await digestOf(blobs(digest))) !== digest) {
    await disk.remove(partial);
    return BLOB_DAMAGED;
  }
  if (!unpacked.ok) return { ok: false, problem: "malformed-archive", code: unpacked.problem };
  await setAside(disk, set, digest);
  await disk.rename(partial, folder);
  await disk.syncFolder(set.folder);
  await writeDurably(disk, listingPath(folder), encodeListing(unpacked.listing));
  return undefined;
}

/**
 * A tree that is replaced may be what a stack in motion runs from, and opens more of: it keeps all its files, under another
 * name, until nothing of the set runs (H3).
 */
async function setAside(disk: Disk, set: SetOnDisk, digest: string): Promise<void> {
  const folder = archiveFolder(set, digest);
  if ((await disk.stat(folder)) === undefined) return;
  const taken = new Set((await disk.list(set.folder)).map(({ name }) => name));
  const free = (count: number): string => {
    const name = `${digestHex(digest)}.aside-${count}`;
    return taken.has(name) ? free(count + 1) : name;
  };
  await disk.rename(folder, join(set.folder, free(1)));
}

const BLOB_DAMAGED: PrepareResult = { ok: false, problem: "storage", code: "BLOB_DAMAGED" };

async function* hashed(source: AsyncIterable<Uint8Array>, digester: Digester): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    digester.update(chunk);
    yield chunk;
  }
}

async function digestOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const digester = createDigester();
  for await (const chunk of source) digester.update(chunk);
  return digester.digest();
}

async function isWhole(disk: Disk, set: SetOnDisk, digest: string): Promise<boolean> {
  const folder = archiveFolder(set, digest);
  const bytes = await disk.read(listingPath(folder));
  const listing = bytes && parseListing(bytes);
  if (listing === undefined || (await disk.stat(folder))?.kind !== "folder") return false;
  return (await verifyTree(disk, folder, listing)).ok;
}

function listingPath(folder: string): string {
  return `${folder}.tree.json`;
}

function archivesOf(set: SetOnDisk): readonly string[] {
  return [
    ...new Set(set.manifest.workloads.flatMap((workload) => (workload.type === "native" ? [workload.archive] : []))),
  ];
}

async function* untilAborted(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}

/** What the disk refused, as an answer; anything else is a bug and passes. */
export function asPrepareResult(error: unknown): PrepareResult {
  if (error instanceof ContentError) return BLOB_DAMAGED;
  if (!(error instanceof DiskError)) throw error;
  const noSpace = error.code === "ENOSPC" || error.code === "EDQUOT";
  return { ok: false, problem: noSpace ? "no-space" : "storage", code: error.code };
}

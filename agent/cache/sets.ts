import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { digestHex } from "@muto/oci/digest";
import type { AgentState } from "../reconcile/state.ts";
import type { ContentStore } from "./content-store.ts";

/** Where a set is prepared: `FOLDER/HEX` of its manifest digest. */
export function setFolder(setsFolder: string, manifestDigest: string): string {
  return join(setsFolder, digestHex(manifestDigest));
}

/** The sets that no cleaning may touch, whatever anybody asks: what runs, or ran before, or is being left or returned to. */
export function protectedSets(state: AgentState): ReadonlySet<string> {
  const { active, previous, trial, rollback } = state;
  const sets = [active, previous, trial?.set, trial?.from, rollback?.from, rollback?.to];
  return new Set(sets.flatMap((set) => (set === null || set === undefined ? [] : [set.manifestDigest])));
}

export interface CleanOptions {
  readonly disk: Disk;
  readonly content: ContentStore;
  readonly setsFolder: string;
  /** Manifest digests of the sets that stay, the protected ones among them. */
  readonly keep: readonly string[];
  readonly protect: ReadonlySet<string>;
  /** Digests of all blobs of a set, its manifests included; undefined when they cannot be known now. */
  readonly blobsOf: (manifestDigest: string) => Promise<readonly string[] | undefined>;
}

export interface Cleaned {
  readonly setsRemoved: number;
  readonly blobsRemoved: number;
  /** Of the blobs; what the folders of sets took is not counted. */
  readonly bytesFreed: number;
  /** A set that stays and whose blobs cannot be known: then no blob at all was removed, for it might be one of them. */
  readonly unknown: string | undefined;
}

/**
 * Removes sets and blobs that no set needs which stays. Never touches a protected set: that is asserted before anything is
 * removed, at every removal, and by looking at the disk before and after (H7, H9). Rejects with a DiskError when the disk refuses.
 */
export async function cleanSets(options: CleanOptions): Promise<Cleaned> {
  const { disk, setsFolder, keep, protect } = options;
  for (const digest of protect) if (!keep.includes(digest)) throw new Error("a protected set was to be cleaned away");
  const before = await protectedThings(options);
  const kept = new Set(keep.map(digestHex));
  let setsRemoved = 0;
  for (const { name } of await disk.list(setsFolder)) {
    if (kept.has(name)) continue;
    if ([...protect].some((digest) => digestHex(digest) === name)) throw new Error("a protected set was to be removed");
    await disk.remove(join(setsFolder, name));
    setsRemoved += 1;
  }
  const cleaned = await cleanBlobs(options);
  const after = new Set(await protectedThings(options));
  const lost = before.find((thing) => !after.has(thing));
  if (lost !== undefined) throw new Error(`cleaning removed ${lost} of a protected set`);
  return { setsRemoved, ...cleaned };
}

async function cleanBlobs({ content, keep, protect, blobsOf }: CleanOptions): Promise<Omit<Cleaned, "setsRemoved">> {
  const needed = new Set<string>();
  for (const manifestDigest of keep) {
    const blobs = await blobsOf(manifestDigest);
    if (blobs === undefined) return { blobsRemoved: 0, bytesFreed: 0, unknown: manifestDigest };
    needed.add(manifestDigest);
    for (const digest of blobs) needed.add(digest);
  }
  const guarded = await blobsOfAll(protect, blobsOf);
  let blobsRemoved = 0;
  let bytesFreed = 0;
  for (const { digest, sizeBytes } of await content.list()) {
    if (needed.has(digest)) continue;
    if (guarded.has(digest)) throw new Error("a blob of a protected set was to be removed");
    await content.remove(digest);
    blobsRemoved += 1;
    bytesFreed += sizeBytes;
  }
  return { blobsRemoved, bytesFreed, unknown: undefined };
}

async function blobsOfAll(sets: Iterable<string>, blobsOf: CleanOptions["blobsOf"]): Promise<ReadonlySet<string>> {
  const all = new Set<string>();
  for (const set of sets) {
    all.add(set);
    for (const digest of (await blobsOf(set)) ?? []) all.add(digest);
  }
  return all;
}

/** Folders and blobs of protected sets that are on the disk now. */
async function protectedThings({ disk, content, setsFolder, protect, blobsOf }: CleanOptions): Promise<string[]> {
  const things: string[] = [];
  for (const digest of protect) {
    const folder = setFolder(setsFolder, digest);
    if ((await disk.stat(folder)) !== undefined) things.push(folder);
  }
  for (const digest of await blobsOfAll(protect, blobsOf)) if (await content.has(digest)) things.push(digest);
  return things;
}

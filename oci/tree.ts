import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { isRecord } from "./descriptor.ts";

/** One name below the folder of an unpacked archive; `path` is relative, with `/`, and sorted bytewise in a listing. */
export type TreeEntry =
  | { readonly path: string; readonly kind: "folder"; readonly mode: number }
  | {
      readonly path: string;
      readonly kind: "file";
      readonly mode: number;
      readonly sizeBytes: number;
      readonly sha256: string;
    }
  | { readonly path: string; readonly kind: "symlink"; readonly target: string };

/** Everything that an archive put on the disk, so that it can be proved unchanged right before it is started. */
export type TreeListing = readonly TreeEntry[];

export type VerifiedTree =
  | { readonly ok: true }
  | { readonly ok: false; readonly problem: "missing" | "extra" | "changed"; readonly path: string };

const READ_BYTES = 1024 * 1024;

/**
 * Walks the folder and compares every name, kind, mode, size, link target and byte with the listing. Nothing may be missing and
 * nothing may have been added. Guards against software swapped on disk between download and start (arbitrary software).
 */
export async function verifyTree(disk: Disk, folder: string, listing: TreeListing): Promise<VerifiedTree> {
  const expected = new Map(listing.map((entry) => [entry.path, entry]));
  const seen = await walk(disk, folder, "", expected);
  if (seen.problem !== undefined) return seen.problem;
  const missing = listing.find(({ path }) => !seen.paths.has(path));
  return missing === undefined ? { ok: true } : { ok: false, problem: "missing", path: missing.path };
}

/** The listing as bytes to be stored beside the tree: JSON, one entry a line. */
export function encodeListing(listing: TreeListing): Uint8Array {
  return new Uint8Array(Buffer.from(`[\n${listing.map((entry) => JSON.stringify(entry)).join(",\n")}\n]\n`, "utf8"));
}

/** Undefined when the bytes are no listing: a torn or foreign file is as good as none. */
export function parseListing(bytes: Uint8Array): TreeListing | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  const entries = value.map(parseEntry);
  return entries.every((entry) => entry !== undefined) ? entries : undefined;
}

interface Walked {
  readonly paths: Set<string>;
  readonly problem?: VerifiedTree;
}

async function walk(
  disk: Disk,
  folder: string,
  below: string,
  expected: ReadonlyMap<string, TreeEntry>,
): Promise<Walked> {
  const paths = new Set<string>();
  for (const { name, kind } of await disk.list(join(folder, below))) {
    const path = below === "" ? name : `${below}/${name}`;
    const entry = expected.get(path);
    if (entry === undefined) return { paths, problem: { ok: false, problem: "extra", path } };
    if (entry.kind !== kind || !(await isUnchanged(disk, join(folder, path), entry))) {
      return { paths, problem: { ok: false, problem: "changed", path } };
    }
    paths.add(path);
    if (kind !== "folder") continue;
    const inner = await walk(disk, folder, path, expected);
    if (inner.problem !== undefined) return inner;
    for (const found of inner.paths) paths.add(found);
  }
  return { paths };
}

async function isUnchanged(disk: Disk, path: string, entry: TreeEntry): Promise<boolean> {
  if (entry.kind === "symlink") return (await disk.readLink(path)) === entry.target;
  const found = await disk.stat(path);
  if (found === undefined || found.mode !== entry.mode) return false;
  if (entry.kind === "folder") return true;
  return found.sizeBytes === entry.sizeBytes && (await hashFile(disk, path)) === entry.sha256;
}

async function hashFile(disk: Disk, path: string): Promise<string> {
  const hash = createHash("sha256");
  await using file = await disk.open(path, "read");
  for (let offset = 0; ; offset += READ_BYTES) {
    const piece = await file.read(offset, READ_BYTES);
    hash.update(piece);
    if (piece.byteLength < READ_BYTES) return hash.digest("hex");
  }
}

function parseEntry(value: unknown): TreeEntry | undefined {
  if (!isRecord(value)) return undefined;
  const { path, kind, mode, sizeBytes, sha256, target } = value;
  if (typeof path !== "string") return undefined;
  if (kind === "symlink") return typeof target === "string" ? { path, kind, target } : undefined;
  if (typeof mode !== "number") return undefined;
  if (kind === "folder") return { path, kind, mode };
  if (kind !== "file" || typeof sizeBytes !== "number" || typeof sha256 !== "string") return undefined;
  return { path, kind, mode, sizeBytes, sha256 };
}

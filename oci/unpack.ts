import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Disk, DiskFile } from "@muto/kit/disk";
import { extract } from "tar-stream";
import type { Extract, Header } from "tar-stream";
import { hasControlCharacter, linkStaysInside, parseArchivePath } from "./archive-path.ts";
import type { PathProblem } from "./archive-path.ts";
import { gunzipped } from "./gzip.ts";
import { pour } from "./pour.ts";
import type { TreeEntry, TreeListing } from "./tree.ts";

/**
 * Unpacks a `tar.gz` from strangers into a fresh folder. Nothing outside it is ever written: paths are plain and relative,
 * symbolic links come last and must stay inside, nothing but files, folders and links exists. Guards against
 * archives that climb out, write through links, bring devices, or are bombs of bytes, names or depth.
 */
export type Unpacked =
  | { readonly ok: true; readonly listing: TreeListing }
  | { readonly ok: false; readonly problem: UnpackProblem; readonly path?: string };

export type UnpackProblem =
  | PathProblem
  | "link-escapes"
  | "link-target-missing"
  | "special-file"
  | "duplicate"
  | "not-a-folder"
  | "too-many-entries"
  | "too-large"
  | "too-dense";

export interface UnpackLimits {
  readonly entriesMax: number;
  readonly unpackedBytesMax: number;
  /** Unpacked bytes per packed byte, judged once `ratioFreeBytes` have come out. */
  readonly ratioMax: number;
  readonly ratioFreeBytes: number;
  readonly pathBytesMax: number;
  readonly nameBytesMax: number;
}

export const DEFAULT_UNPACK_LIMITS: UnpackLimits = {
  entriesMax: 200_000,
  unpackedBytesMax: 32 * 1024 * 1024 * 1024,
  ratioMax: 200,
  ratioFreeBytes: 16 * 1024 * 1024,
  pathBytesMax: 1024,
  nameBytesMax: 255,
};

/** Turns compressed bytes into plain ones; an argument, because a simulator wants one without threads. */
export type Decompress = (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

export interface UnpackOptions {
  /** Absolute; must not exist yet. It is removed again when the archive is refused. */
  readonly folder: string;
  readonly limits?: Partial<UnpackLimits>;
  readonly decompress?: Decompress;
}

/**
 * The source is read to its end, so that a verified stream has verified everything. What the source or the disk throws
 * passes through. Every file is synced, so that a listing that was stored durably afterwards tells the truth.
 */
export async function unpack(disk: Disk, source: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<Unpacked> {
  const limits = { ...DEFAULT_UNPACK_LIMITS, ...options.limits };
  if ((await disk.stat(options.folder)) !== undefined) throw new Error("the folder to unpack into exists already");
  await disk.makeFolder(options.folder);
  const outside: { failure?: { readonly cause: unknown } } = {};
  try {
    const bytes = measured(remembering(source, outside), options.decompress ?? gunzipped, limits);
    await using tree = new Tree(disk, options.folder, limits);
    for await (const entry of entriesOf(bytes)) await tree.add(entry);
    return { ok: true, listing: await tree.finish() };
  } catch (error) {
    // The refusal matters more than what is left over, which whoever prepares the next set removes.
    await disk.remove(options.folder).catch(() => {});
    if (outside.failure !== undefined) throw outside.failure.cause;
    if (error instanceof Refusal) return error.outcome;
    if (error instanceof MalformedArchive) return { ok: false, problem: "malformed" };
    throw error;
  }
}

class Refusal extends Error {
  override readonly name = "Refusal";
  readonly outcome: Unpacked;

  constructor(problem: UnpackProblem, path?: string) {
    super(problem);
    this.outcome = { ok: false, problem, ...(path === undefined ? {} : { path }) };
  }
}

class MalformedArchive extends Error {
  override readonly name = "MalformedArchive";
}

/**
 * Files are synced many at a time, because one sync makes most of the others cheap; but before they are so many that the
 * stack which runs meanwhile would wait for a mountain of dirty pages, or that open files run out.
 */
const SYNC_EVERY_FILES = 128;
const SYNC_EVERY_BYTES = 8 * 1024 * 1024;

const FILE_MODE = 0o644;
const PROGRAM_MODE = 0o755;
const FOLDER_MODE = 0o755;

class Tree implements AsyncDisposable {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #limits: UnpackLimits;
  readonly #entries = new Map<string, TreeEntry>();
  readonly #links = new Map<string, string>();
  #unsynced: DiskFile[] = [];
  #unsyncedBytes = 0;

  constructor(disk: Disk, folder: string, limits: UnpackLimits) {
    this.#disk = disk;
    this.#folder = folder;
    this.#limits = limits;
  }

  async add(entry: Entry): Promise<void> {
    const { name, type } = entry.header;
    const parsed = parseArchivePath(name, this.#limits);
    if (!parsed.ok) throw new Refusal(parsed.problem);
    const { path } = parsed;
    if (this.#entries.size >= this.#limits.entriesMax) throw new Refusal("too-many-entries");
    if (type === "directory") await this.#addFolder(path);
    else if (type === "file" || type === "contiguous-file") await this.#addFile(path, entry);
    else if (type === "symlink") await this.#addLink(path, entry.header);
    else if (type === "link") await this.#addHardLink(path, entry.header);
    else throw new Refusal("special-file", path);
    entry.resume();
  }

  /** Makes the symbolic links, now that it is known where each would lead, and gives the sorted listing. */
  async finish(): Promise<TreeListing> {
    await this.#syncFiles();
    for (const [path, target] of this.#links) {
      if (!linkStaysInside(path, this.#links)) throw new Refusal("link-escapes", path);
      await this.#disk.symlink(target, this.#at(path));
    }
    const folders = [...this.#entries.values()].filter((entry) => entry.kind === "folder");
    for (const { path } of folders) await this.#disk.syncFolder(this.#at(path));
    await this.#disk.syncFolder(this.#folder);
    return [...this.#entries.values()].toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  }

  async #addFolder(path: string): Promise<void> {
    if (path === "") return;
    const known = this.#entries.get(path);
    if (known?.kind === "folder") return;
    if (known !== undefined) throw new Refusal("duplicate", path);
    await this.#addParents(path);
    await this.#disk.makeFolder(this.#at(path));
    await this.#disk.setPermissions(this.#at(path), FOLDER_MODE);
    this.#entries.set(path, { path, kind: "folder", mode: FOLDER_MODE });
  }

  async #addFile(path: string, entry: Entry): Promise<void> {
    await this.#claim(path);
    const mode = (entry.header.mode & 0o100) === 0 ? FILE_MODE : PROGRAM_MODE;
    const hash = createHash("sha256");
    let sizeBytes = 0;
    const file = await this.#disk.open(this.#at(path), "create", mode);
    this.#unsynced.push(file);
    for await (const chunk of chunksOf(entry)) {
      if (this.#unsyncedBytes >= SYNC_EVERY_BYTES) {
        await file.sync();
        this.#unsyncedBytes = 0;
      }
      await file.write(sizeBytes, chunk);
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      this.#unsyncedBytes += chunk.byteLength;
    }
    await this.#disk.setPermissions(this.#at(path), mode);
    if (this.#unsynced.length >= SYNC_EVERY_FILES || this.#unsyncedBytes >= SYNC_EVERY_BYTES) await this.#syncFiles();
    this.#entries.set(path, { path, kind: "file", mode, sizeBytes, sha256: hash.digest("hex") });
  }

  async #syncFiles(): Promise<void> {
    for (const file of this.#unsynced) await file.sync();
    await this[Symbol.asyncDispose]();
  }

  /** Closes what is open; what was not synced is then not to be relied on. */
  async [Symbol.asyncDispose](): Promise<void> {
    const open = this.#unsynced;
    this.#unsynced = [];
    this.#unsyncedBytes = 0;
    for (const file of open) await file.close();
  }

  async #addLink(path: string, header: Header): Promise<void> {
    const target = header.linkname ?? "";
    if (target === "" || hasControlCharacter(target)) throw new Refusal("malformed", path);
    if (Buffer.byteLength(target) > this.#limits.pathBytesMax) throw new Refusal("path-too-long", path);
    await this.#claim(path);
    this.#links.set(path, target);
    this.#entries.set(path, { path, kind: "symlink", target });
  }

  /** A hard link may only name a file that this very archive brought before. */
  async #addHardLink(path: string, header: Header): Promise<void> {
    const named = parseArchivePath(header.linkname ?? "", this.#limits);
    if (!named.ok) throw new Refusal(named.problem === "malformed" ? "malformed" : "link-escapes", path);
    const existing = this.#entries.get(named.path);
    if (existing?.kind !== "file") throw new Refusal("link-target-missing", path);
    await this.#claim(path);
    await this.#disk.link(this.#at(named.path), this.#at(path));
    this.#entries.set(path, { ...existing, path });
  }

  /** A name that nobody has yet, below folders that are folders. */
  async #claim(path: string): Promise<void> {
    if (path === "") throw new Refusal("not-a-folder");
    if (this.#entries.has(path)) throw new Refusal("duplicate", path);
    await this.#addParents(path);
  }

  async #addParents(path: string): Promise<void> {
    const parent = path.split("/").slice(0, -1).join("/");
    if (parent === "") return;
    const known = this.#entries.get(parent);
    if (known !== undefined && known.kind !== "folder") throw new Refusal("not-a-folder", path);
    await this.#addFolder(parent);
  }

  #at(path: string): string {
    return join(this.#folder, path);
  }
}

type Entry = Extract extends AsyncIterable<infer Source> ? Source : never;

/** The entries of a plain tar; whatever the parser does not like is a malformed archive. */
async function* entriesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Entry> {
  const parser = extract();
  const feeding = pour(bytes, parser, (wake) => {
    parser.on("drain", wake);
    parser.on("close", wake);
  });
  const iterator = parser[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch(malformed);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    parser.destroy(null);
    await feeding;
  }
}

async function* chunksOf(entry: Entry): AsyncGenerator<Uint8Array> {
  const iterator = entry[Symbol.asyncIterator]();
  for (;;) {
    const next = await iterator.next().catch(malformed);
    if (next.done === true) return;
    if (!(next.value instanceof Uint8Array)) throw new TypeError("the parser gave no bytes");
    yield next.value;
  }
}

/** What we refused ourselves on the way in comes back through the parser and stays what it was. */
function malformed(cause: unknown): never {
  if (cause instanceof Refusal) throw cause;
  throw new MalformedArchive("the archive cannot be read", { cause });
}

/** Counts both sides of the decompression: no more bytes than allowed, and not out of all proportion (bombs). */
async function* measured(
  source: AsyncIterable<Uint8Array>,
  decompress: Decompress,
  limits: UnpackLimits,
): AsyncGenerator<Uint8Array> {
  let packed = 0;
  let unpacked = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      packed += chunk.byteLength;
      yield chunk;
    }
  }
  for await (const chunk of decompress(counted())) {
    unpacked += chunk.byteLength;
    if (unpacked > limits.unpackedBytesMax) throw new Refusal("too-large");
    if (unpacked > limits.ratioFreeBytes && unpacked > packed * limits.ratioMax) throw new Refusal("too-dense");
    yield chunk;
  }
}

async function* remembering(
  source: AsyncIterable<Uint8Array>,
  outside: { failure?: { readonly cause: unknown } },
): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (cause) {
    outside.failure = { cause };
    throw cause;
  }
}

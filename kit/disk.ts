import type { Dirent, Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { dirname, isAbsolute } from "node:path";

/**
 * The file system as a port. Nothing written is durable before `DiskFile.sync` (bytes) and `Disk.syncFolder` (names).
 * Paths are absolute. Every method rejects with a {@link DiskError} when the disk refuses.
 */
export interface Disk {
  /** Whole content, or undefined when there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Entries of a folder, sorted by name; empty when there is no such folder. */
  list(path: string): Promise<readonly DiskEntry[]>;
  stat(
    path: string,
  ): Promise<{ readonly kind: DiskEntry["kind"]; readonly sizeBytes: number; readonly mode: number } | undefined>;
  /** Creates the folder and its parents; each new name, and the name of the last one that was already there, is made durable. */
  makeFolder(path: string): Promise<void>;
  /** `create` fails when the file exists, `update` when it does not; `read` cannot write. */
  open(path: string, mode: "create" | "update" | "read", permissions?: number): Promise<DiskFile>;
  symlink(target: string, path: string): Promise<void>;
  /** What a symbolic link says, unresolved; undefined when there is no such link. */
  readLink(path: string): Promise<string | undefined>;
  link(existing: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, link or whole folder; a missing one is no error. */
  remove(path: string): Promise<void>;
  setPermissions(path: string, mode: number): Promise<void>;
  syncFolder(path: string): Promise<void>;
  freeBytes(path: string): Promise<number>;
}

export interface DiskEntry {
  readonly name: string;
  readonly kind: "file" | "folder" | "symlink" | "other";
}

export interface DiskFile extends AsyncDisposable {
  read(offset: number, length: number): Promise<Uint8Array>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  truncate(length: number): Promise<void>;
  sizeBytes(): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** `code` is the operating system's: ENOSPC, EIO, EACCES, EEXIST, ENOENT, … */
export class DiskError extends Error {
  override readonly name = "DiskError";
  readonly code: string;
  readonly operation: string;
  readonly path: string;

  constructor(code: string, operation: string, path: string, options?: ErrorOptions) {
    super(`${operation} ${path}: ${code}`, options);
    this.code = code;
    this.operation = operation;
    this.path = path;
  }
}

/**
 * The real file system. `DiskFile.sync` is fdatasync: bytes and length, which is all that a record needs, for about half
 * the price of fsync on a journalled file system.
 */
export function systemDisk(): Disk {
  return {
    read: (path) => unlessAbsent(asDisk("read", path, async () => new Uint8Array(await fs.readFile(path)))),
    list: async (path) => {
      const entries = await unlessAbsent(asDisk("list", path, () => fs.readdir(path, { withFileTypes: true })));
      return (entries ?? [])
        .map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    stat: async (path) => {
      const found = await unlessAbsent(asDisk("stat", path, () => fs.lstat(path)));
      return found && { kind: kindOf(found), sizeBytes: found.size, mode: found.mode & 0o7777 };
    },
    makeFolder,
    open: (path, mode, permissions = 0o600) =>
      asDisk("open", path, async () => openedFile(path, await fs.open(path, OPEN_FLAGS[mode], permissions))),
    symlink: (target, path) => asDisk("symlink", path, () => fs.symlink(target, path)),
    readLink: (path) => unlessAbsent(asDisk("readLink", path, () => fs.readlink(path))),
    link: (existing, path) => asDisk("link", path, () => fs.link(existing, path)),
    rename: (from, to) => asDisk("rename", to, () => fs.rename(from, to)),
    remove: (path) => asDisk("remove", path, () => fs.rm(path, { recursive: true, force: true })),
    setPermissions: (path, mode) => asDisk("setPermissions", path, () => fs.chmod(path, mode)),
    syncFolder,
    freeBytes: (path) =>
      asDisk("freeBytes", path, async () => {
        const { bavail, bsize } = await fs.statfs(path);
        return bavail * bsize;
      }),
  };
}

const OPEN_FLAGS = { create: "wx+", update: "r+", read: "r" } as const;

function openedFile(path: string, handle: fs.FileHandle): DiskFile {
  const close = () => asDisk("close", path, () => handle.close());
  return {
    read: (offset, length) => asDisk("read", path, () => readUpTo(handle, offset, length)),
    write: (offset, bytes) => asDisk("write", path, () => writeWhole(handle, offset, bytes)),
    truncate: (length) => asDisk("truncate", path, () => handle.truncate(length)),
    sizeBytes: () => asDisk("sizeBytes", path, async () => (await handle.stat()).size),
    sync: () => asDisk("sync", path, () => handle.datasync()),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The operating system may return less than asked for before the end of the file; callers may rely on "less means the end". */
async function readUpTo(handle: fs.FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

async function writeWhole(handle: fs.FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.byteLength) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.byteLength - written, offset + written);
    written += bytesWritten;
  }
}

/**
 * A process that was killed between mkdir and the sync of the parent leaves a folder that only looks safe, so the name of
 * the deepest folder that is already there is made durable too. Folders above it became durable before it was made.
 */
async function makeFolder(path: string): Promise<void> {
  const parent = dirname(path);
  try {
    await asDisk("makeFolder", path, () => fs.mkdir(path));
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (error.code === "ENOENT" && parent !== path) {
      await makeFolder(parent);
      await makeFolder(path);
      return;
    }
    if (error.code !== "EEXIST" || !(await asDisk("stat", path, () => fs.stat(path))).isDirectory()) throw error;
    await syncUnlessForbidden(parent);
    return;
  }
  await syncFolder(parent);
}

/** Who may not read the parent did not make the folder in it: its name is the business of whoever did. */
async function syncUnlessForbidden(path: string): Promise<void> {
  try {
    await syncFolder(path);
  } catch (error) {
    if (!(error instanceof DiskError) || (error.code !== "EACCES" && error.code !== "EPERM")) throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  await asDisk("syncFolder", path, async () => {
    const handle = await fs.open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

function kindOf(entry: Dirent | Stats): DiskEntry["kind"] {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  return entry.isSymbolicLink() ? "symlink" : "other";
}

/** Runs one call and turns what the operating system refuses into a {@link DiskError}; anything else is a bug and passes. */
async function asDisk<T>(operation: string, path: string, call: () => Promise<T>): Promise<T> {
  if (!isAbsolute(path)) throw new TypeError(`${operation} needs an absolute path, not ${path}`);
  try {
    return await call();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    throw new DiskError(code, operation, path, { cause: error });
  }
}

async function unlessAbsent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof DiskError && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Node.js marks its own refusals (a bug of the caller) with codes that begin with ERR_. */
function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  return error.code.startsWith("ERR_") ? undefined : error.code;
}

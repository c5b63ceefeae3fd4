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
  /** Creates the folder and its parents; each new name is made durable. */
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

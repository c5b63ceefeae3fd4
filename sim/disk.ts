import { DiskError } from "@muto/kit/disk";
import type { Disk, DiskEntry, DiskFile } from "@muto/kit/disk";
import type { Random } from "@muto/kit/random";
import { bytesOf, EMPTY, resized, written } from "./content.ts";
import type { Content } from "./content.ts";
import { DiskNames, parentOf } from "./disk-names.ts";
import { crashStates, emptyTree, randomCrash, withChanges } from "./disk-tree.ts";
import type { FileNode, Tree } from "./disk-tree.ts";

export type DiskOperationKind =
  | "read"
  | "list"
  | "stat"
  | "makeFolder"
  | "open"
  | "symlink"
  | "readLink"
  | "link"
  | "rename"
  | "remove"
  | "setPermissions"
  | "syncFolder"
  | "freeBytes"
  | "fileRead"
  | "fileWrite"
  | "fileTruncate"
  | "fileSize"
  | "fileSync"
  | "fileClose";

export interface DiskOperation {
  /** Counts from 0 over the life of the disk. */
  readonly index: number;
  readonly kind: DiskOperationKind;
  readonly path: string;
}

/**
 * What goes wrong with one operation. `refuse`: an error, and nothing happened. `partial`: half of a write, then an error.
 * `loseSync`: a sync fails and the system forgets the pages that it could not write, so that a later one "succeeds".
 * `lieSync`: a sync reports success and did nothing. `flipBit`: a read returns one wrong bit. `hang`: never settles, as for
 * a process that is dead.
 */
export type DiskFault =
  | { readonly kind: "refuse" | "partial"; readonly code: string }
  | { readonly kind: "loseSync" | "lieSync" | "flipBit" | "hang" };

export interface SimulatedDiskOptions {
  readonly capacityBytes?: number;
  /** `immediate` is the cheap mode: whatever was written is durable at once, and a power cut loses nothing. */
  readonly durability?: "onSync" | "immediate";
  /** Asked before each operation. */
  readonly fault?: (operation: DiskOperation) => DiskFault | undefined;
}

const CAPACITY_BYTES = 2 ** 40;

/** A disk in memory with a view for processes and a durable one. Permissions are kept and not enforced. */
export class SimulatedDisk implements Disk {
  readonly #options: SimulatedDiskOptions;
  readonly #immediate: boolean;
  #names: DiskNames;
  #capacityBytes: number;
  #operations = 0;
  /** Open files belong to a life; the ones of an earlier life never answer again. */
  #life = 0;

  constructor(options: SimulatedDiskOptions = {}, tree: Tree = emptyTree()) {
    this.#options = options;
    this.#immediate = options.durability === "immediate";
    this.#capacityBytes = options.capacityBytes ?? CAPACITY_BYTES;
    this.#names = new DiskNames(tree, this.#immediate);
  }

  // ── For the simulation ────────────────────────────────────────────────────────────────────────────────────────────

  /** How many operations were asked for. */
  get operations(): number {
    return this.#operations;
  }

  /** Others fill the disk, or make room again. */
  leaveFree(bytes: number): void {
    this.#capacityBytes = this.#names.usedBytes + bytes;
  }

  /** The process dies: what it wrote stays visible, its open files are gone, its pending calls never settle. */
  kill(): void {
    this.#life += 1;
    for (const node of this.#names.tree.nodes.values()) {
      if (node.kind === "file") this.#names.count(node, "handles", -node.handles);
    }
  }

  /** The power fails: what was not synced survives in part, at random. */
  cutPower(random: Random): void {
    this.kill();
    if (!this.#immediate) this.#names = new DiskNames(randomCrash(this.#names.tree, random), false);
  }

  /** Every disk that a power cut at this moment may leave; beyond `statesMax` the corners and a sample. */
  crashed(
    statesMax: number,
    random: Random,
    options: SimulatedDiskOptions = {},
  ): { readonly disks: Iterable<SimulatedDisk>; readonly exhaustive: boolean } {
    const { states, exhaustive } = crashStates(this.#names.tree, statesMax, random);
    const over = { capacityBytes: this.#capacityBytes, ...options };
    return { disks: mapped(states, (tree) => new SimulatedDisk(over, tree)), exhaustive };
  }

  /** Turns one bit of what a file holds, durably: a fault of the medium. */
  flipBit(path: string, byte: number, bit: number): void {
    const node = this.#names.findFile("flipBit", path);
    const [before = 0] = bytesOf(node.seen, byte, 1);
    node.seen = written(node.seen, byte, Uint8Array.of(before ^ (1 << bit)));
    node.durable = node.seen;
    node.pending = [];
  }

  // ── The port ──────────────────────────────────────────────────────────────────────────────────────────────────────

  read(path: string): Promise<Uint8Array | undefined> {
    return this.#operation("read", path, (fault) => {
      if (this.#names.idOf("read", path) === undefined) return undefined;
      const { seen } = this.#names.findFile("read", path);
      return copyOf(seen, 0, seen.length, fault);
    });
  }

  list(path: string): Promise<readonly DiskEntry[]> {
    return this.#operation("list", path, () => {
      const folder = this.#names.lookUp("list", path);
      if (folder === undefined) return [];
      if (folder.kind !== "folder") throw new DiskError("ENOTDIR", "list", path);
      return [...folder.seen]
        .map(([name, id]) => ({ name, kind: this.#names.node(id).kind }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  stat(path: string): ReturnType<Disk["stat"]> {
    return this.#operation("stat", path, () => {
      const node = this.#names.lookUp("stat", path, "itself");
      return node && { kind: node.kind, sizeBytes: node.kind === "file" ? node.seen.length : 0, mode: node.mode };
    });
  }

  async makeFolder(path: string): Promise<void> {
    const found = await this.#operation("makeFolder", path, () => this.#names.lookUp("makeFolder", path));
    if (found !== undefined && found.kind !== "folder") throw new DiskError("EEXIST", "makeFolder", path);
    const parent = parentOf(path);
    if (found === undefined) {
      await this.makeFolder(parent);
      await this.#operation("makeFolder", path, () => {
        this.#addName("makeFolder", path, { kind: "folder", mode: 0o755, seen: new Map(), durable: new Map() });
      });
    }
    if (parent !== path) await this.syncFolder(parent);
  }

  open(path: string, mode: "create" | "update" | "read", permissions = 0o600): Promise<DiskFile> {
    return this.#operation("open", path, () => {
      if (mode === "create") {
        const empty = { seen: EMPTY, durable: EMPTY, pending: [], pagesLost: false, names: 0, handles: 0 };
        this.#addName("open", path, { kind: "file", mode: permissions, ...empty });
      }
      return this.#opened(path, this.#names.findFile("open", path), mode);
    });
  }

  symlink(target: string, path: string): Promise<void> {
    return this.#operation("symlink", path, () => {
      this.#addName("symlink", path, { kind: "symlink", mode: 0o777, target });
    });
  }

  readLink(path: string): Promise<string | undefined> {
    return this.#operation("readLink", path, () => {
      const node = this.#names.lookUp("readLink", path, "itself");
      if (node !== undefined && node.kind !== "symlink") throw new DiskError("EINVAL", "readLink", path);
      return node?.target;
    });
  }

  link(existing: string, path: string): Promise<void> {
    return this.#operation("link", path, () => {
      const id = this.#names.idOf("link", existing, "itself");
      if (id === undefined) throw new DiskError("ENOENT", "link", existing);
      const taken = this.#names.lookUp("link", path, "itself") !== undefined;
      // The kernel looks for the new name's folder before it minds what is being linked.
      const hasPlace = this.#names.lookUp("link", parentOf(path))?.kind === "folder";
      if (!taken && hasPlace && this.#names.node(id).kind === "folder") throw new DiskError("EPERM", "link", path);
      this.#addName("link", path, id);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#operation("rename", to, () => this.#names.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#operation("remove", path, () => {
      if (this.#names.lookUp("remove", path, "itself") !== undefined)
        this.#names.remove(this.#names.place("remove", path));
    });
  }

  setPermissions(path: string, mode: number): Promise<void> {
    return this.#operation("setPermissions", path, () => {
      const node = this.#names.find("setPermissions", path);
      if (node.kind !== "symlink") node.mode = mode;
    });
  }

  syncFolder(path: string): Promise<void> {
    return this.#operation("syncFolder", path, (fault) => {
      const id = this.#names.idOf("syncFolder", path);
      if (id === undefined || this.#names.node(id).kind !== "folder") throw new DiskError("ENOENT", "syncFolder", path);
      if (fault?.kind === "loseSync") throw new DiskError("EIO", "syncFolder", path);
      if (fault?.kind !== "lieSync") this.#names.makeDurable(id);
    });
  }

  freeBytes(path: string): Promise<number> {
    return this.#operation("freeBytes", path, () => {
      this.#names.find("freeBytes", path);
      return this.#freeBytes();
    });
  }

  // ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #opened(path: string, node: FileNode, mode: "create" | "update" | "read"): DiskFile {
    const life = this.#life;
    let open = true;
    this.#names.count(node, "handles", 1);
    const operation = <T>(kind: DiskOperationKind, work: (fault: DiskFault | undefined) => T): Promise<T> => {
      if (life !== this.#life) return never();
      return this.#operation(kind, path, (fault) => {
        const writes = kind === "fileWrite" || kind === "fileTruncate";
        if (!open || (mode === "read" && writes)) throw new DiskError("EBADF", kind, path);
        return work(fault);
      });
    };
    const close = () =>
      open
        ? operation("fileClose", () => {
            open = false;
            this.#names.count(node, "handles", -1);
          })
        : Promise.resolve();
    return {
      read: (offset, length) => operation("fileRead", (fault) => copyOf(node.seen, offset, length, fault)),
      write: (offset, bytes) => operation("fileWrite", (fault) => this.#write(path, node, offset, bytes, fault)),
      truncate: (length) => operation("fileTruncate", () => this.#truncate(path, node, length)),
      sizeBytes: () => operation("fileSize", () => node.seen.length),
      sync: () => operation("fileSync", (fault) => sync(path, node, fault)),
      close,
      [Symbol.asyncDispose]: close,
    };
  }

  #write(path: string, node: FileNode, offset: number, bytes: Uint8Array, fault: DiskFault | undefined): void {
    const wantedBytes = fault?.kind === "partial" ? bytes.byteLength >> 1 : bytes.byteLength;
    const writtenBytes = Math.min(wantedBytes, Math.max(0, node.seen.length + this.#freeBytes() - offset));
    if (writtenBytes > 0) {
      const copy = new Uint8Array(bytes.subarray(0, writtenBytes));
      this.#names.setContent(node, written(node.seen, offset, copy));
      if (this.#immediate) node.durable = node.seen;
      else node.pending.push({ kind: "write", offset, bytes: copy });
    }
    if (fault?.kind === "partial") throw new DiskError(fault.code, "write", path);
    if (writtenBytes < bytes.byteLength) throw new DiskError("ENOSPC", "write", path);
  }

  #truncate(path: string, node: FileNode, length: number): void {
    if (length - node.seen.length > this.#freeBytes()) throw new DiskError("ENOSPC", "truncate", path);
    this.#names.setContent(node, resized(node.seen, length));
    if (this.#immediate) node.durable = node.seen;
    else node.pending.push({ kind: "truncate", length });
  }

  #freeBytes(): number {
    return Math.max(0, this.#capacityBytes - this.#names.usedBytes);
  }

  #addName(operation: string, path: string, made: Parameters<DiskNames["add"]>[2]): void {
    this.#names.add(operation, path, made, this.#freeBytes());
  }

  async #operation<T>(kind: DiskOperationKind, path: string, work: (fault: DiskFault | undefined) => T): Promise<T> {
    if (!path.startsWith("/")) throw new TypeError(`${kind} needs an absolute path, not ${path}`);
    const life = this.#life;
    const fault = this.#options.fault?.({ index: this.#operations++, kind, path });
    if (fault?.kind === "hang") return never();
    if (fault?.kind === "refuse") throw new DiskError(fault.code, kind, path);
    const result = work(fault);
    await Promise.resolve();
    return life === this.#life ? result : never();
  }
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}

function sync(path: string, node: FileNode, fault: DiskFault | undefined): void {
  if (fault?.kind === "lieSync") return;
  const { pending } = node;
  node.pending = [];
  if (fault?.kind === "loseSync") {
    node.pagesLost = true;
    throw new DiskError("EIO", "sync", path);
  }
  node.durable = node.pagesLost ? withChanges(node.durable, pending) : node.seen;
}

function copyOf(content: Content, offset: number, bytes: number, fault: DiskFault | undefined): Uint8Array {
  const copy = bytesOf(content, offset, bytes);
  const middle = copy.byteLength >> 1;
  if (fault?.kind === "flipBit" && copy.byteLength > 0) copy[middle] = (copy[middle] ?? 0) ^ 1;
  return copy;
}

function* mapped<A, B>(items: Iterable<A>, map: (item: A) => B): Generator<B> {
  for (const item of items) yield map(item);
}

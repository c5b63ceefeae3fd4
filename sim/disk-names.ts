import { DiskError } from "@muto/kit/disk";
import type { Content } from "./content.ts";
import { ROOT } from "./disk-tree.ts";
import type { FileNode, FolderNode, NameChange, Tree, TreeNode } from "./disk-tree.ts";

/** A new name wants a little space, as folders are files too. */
const NAME_BYTES = 256;
const LINKS_FOLLOWED_MAX = 16;

export interface Place {
  readonly id: number;
  readonly node: FolderNode;
  readonly name: string;
}

/** The names of a simulated disk as processes see them, and the space that everything takes. */
export class DiskNames {
  readonly tree: Tree;
  readonly #immediate: boolean;
  #usedBytes: number;
  #sweepAt = 256;

  constructor(tree: Tree, immediate: boolean) {
    this.tree = tree;
    this.#immediate = immediate;
    this.#usedBytes = bytesIn(tree);
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  // ── Looking up ────────────────────────────────────────────────────────────────────────────────────────────────────

  node(id: number): TreeNode {
    const node = this.tree.nodes.get(id);
    if (node === undefined) throw new Error(`the simulated disk lost node ${id}`);
    return node;
  }

  find(operation: string, path: string): TreeNode {
    const node = this.lookUp(operation, path);
    if (node === undefined) throw new DiskError("ENOENT", operation, path);
    return node;
  }

  findFile(operation: string, path: string): FileNode {
    const node = this.find(operation, path);
    if (node.kind === "file") return node;
    throw new DiskError(node.kind === "folder" ? "EISDIR" : "ENOENT", operation, path);
  }

  lookUp(operation: string, path: string, last: "followed" | "itself" = "followed"): TreeNode | undefined {
    const id = this.idOf(operation, path, last);
    return id === undefined ? undefined : this.node(id);
  }

  /** The folder that a name stands in. */
  place(operation: string, path: string): Place {
    const { parent, name } = split(path);
    if (name === "") throw new DiskError("EBUSY", operation, path);
    const id = this.idOf(operation, parent);
    if (id === undefined) throw new DiskError("ENOENT", operation, path);
    const node = this.node(id);
    if (node.kind !== "folder") throw new DiskError("ENOTDIR", operation, path);
    return { id, node, name };
  }

  idOf(operation: string, path: string, last: "followed" | "itself" = "followed"): number | undefined {
    const names = namesIn(path);
    const trail = [ROOT];
    let followed = 0;
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const here = this.node(trail.at(-1) ?? ROOT);
      if (here.kind !== "folder") throw new DiskError("ENOTDIR", operation, path);
      if (name === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const id = here.seen.get(name);
      if (id === undefined) return undefined;
      const child = this.node(id);
      if (child.kind !== "symlink" || (last === "itself" && names.length === 0)) {
        trail.push(id);
        continue;
      }
      followed += 1;
      if (followed > LINKS_FOLLOWED_MAX) throw new DiskError("ELOOP", operation, path);
      if (child.target.startsWith("/")) trail.splice(1);
      names.unshift(...namesIn(child.target));
    }
    return trail.at(-1);
  }

  // ── Changing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives a name to a new node, or another one to a known node. */
  add(operation: string, path: string, made: TreeNode | number, freeBytes: number): void {
    const { id: folder, node, name } = this.place(operation, path);
    if (node.seen.has(name)) throw new DiskError("EEXIST", operation, path);
    if (freeBytes < NAME_BYTES) throw new DiskError("ENOSPC", operation, path);
    const id = typeof made === "number" ? made : this.tree.nextId++;
    if (typeof made !== "number") this.tree.nodes.set(id, made);
    this.#change([{ folder, name, node: id }]);
  }

  rename(from: string, to: string): void {
    const source = this.place("rename", from);
    const target = this.place("rename", to);
    const id = source.node.seen.get(source.name);
    if (id === undefined) throw new DiskError("ENOENT", "rename", from);
    const replaced = target.node.seen.get(target.name);
    if (replaced === id) return;
    const folder = this.node(id).kind === "folder";
    if (folder && `${to}/`.startsWith(`${from}/`)) throw new DiskError("EINVAL", "rename", to);
    // A folder above what is renamed is never empty; Linux says so before it looks at what the two are.
    if (from.startsWith(`${to}/`)) throw new DiskError("ENOTEMPTY", "rename", to);
    if (replaced !== undefined) refuseReplacing(folder, this.node(replaced), to);
    this.#change([
      { folder: source.id, name: source.name, node: undefined },
      { folder: target.id, name: target.name, node: id },
    ]);
  }

  /** From the leaves up, as removing a tree does: a power cut may leave a part of it. */
  remove({ id, node: folder, name }: Place): void {
    const child = folder.seen.get(name);
    const node = child === undefined ? undefined : this.node(child);
    if (child === undefined || node === undefined) return;
    if (node.kind === "folder") for (const below of node.seen.keys()) this.remove({ id: child, node, name: below });
    this.#change([{ folder: id, name, node: undefined }]);
  }

  /** A sync of a folder carries along every earlier change that one of its own depends on. */
  makeDurable(folder: number): void {
    const touched = new Set([folder]);
    const durable = new Set<NameChange>();
    for (const change of this.tree.pendingNames.toReversed()) {
      if (!change.some((edit) => touched.has(edit.folder))) continue;
      durable.add(change);
      for (const edit of change) touched.add(edit.folder);
    }
    for (const change of this.tree.pendingNames) if (durable.has(change)) this.#settle(change);
    this.tree.pendingNames = this.tree.pendingNames.filter((change) => !durable.has(change));
    if (this.tree.pendingNames.length === 0 && this.tree.nodes.size > this.#sweepAt) this.#sweep();
  }

  // ── Space ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  setContent(node: FileNode, seen: Content): void {
    this.#usedBytes += seen.length - node.seen.length;
    node.seen = seen;
  }

  /** Counts open files and names: the space is free when both are gone. */
  count(node: FileNode, what: "names" | "handles", by: number): void {
    const before = node.names + node.handles;
    node[what] += by;
    const after = node.names + node.handles;
    if (before > 0 && after === 0) this.#usedBytes -= node.seen.length;
    if (before === 0 && after > 0) this.#usedBytes += node.seen.length;
  }

  #change(change: NameChange): void {
    for (const { folder, name, node: id } of change) {
      const { seen } = this.#folder(folder);
      for (const [counted, by] of [
        [seen.get(name), -1],
        [id, 1],
      ] as const) {
        const node = counted === undefined ? undefined : this.node(counted);
        if (node?.kind === "file") this.count(node, "names", by);
      }
      if (id === undefined) seen.delete(name);
      else seen.set(name, id);
    }
    if (this.#immediate) this.#settle(change);
    else this.tree.pendingNames.push(change);
    if (this.#immediate && this.tree.nodes.size > this.#sweepAt) this.#sweep();
  }

  #settle(change: NameChange): void {
    for (const { folder, name, node } of change) {
      const names = this.#folder(folder).durable;
      if (node === undefined) names.delete(name);
      else names.set(name, node);
    }
  }

  /** Forgets what no name reaches any more, in either view; open files are held by whoever opened them. */
  #sweep(): void {
    const reached = new Set<number>([ROOT]);
    for (const id of reached) {
      const node = this.node(id);
      if (node.kind !== "folder") continue;
      for (const child of node.seen.values()) reached.add(child);
      for (const child of node.durable.values()) reached.add(child);
    }
    for (const id of this.tree.nodes.keys()) if (!reached.has(id)) this.tree.nodes.delete(id);
    this.#sweepAt = 256 + this.tree.nodes.size * 2;
  }

  #folder(id: number): FolderNode {
    const node = this.node(id);
    if (node.kind !== "folder") throw new Error(`node ${id} of the simulated disk is no folder`);
    return node;
  }
}

export function parentOf(path: string): string {
  return split(path).parent;
}

function refuseReplacing(folder: boolean, replaced: TreeNode, path: string): void {
  if (replaced.kind !== "folder" && folder) throw new DiskError("ENOTDIR", "rename", path);
  if (replaced.kind === "folder" && !folder) throw new DiskError("EISDIR", "rename", path);
  if (replaced.kind === "folder" && replaced.seen.size > 0) throw new DiskError("ENOTEMPTY", "rename", path);
}

function split(path: string): { readonly parent: string; readonly name: string } {
  const names = namesIn(path);
  const name = names.pop() ?? "";
  return { parent: `/${names.join("/")}`, name };
}

function namesIn(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/** For a tree that was just built: nothing is open, and every file has a name. */
function bytesIn(tree: Tree): number {
  return [...tree.nodes.values()].reduce((sum, node) => sum + (node.kind === "file" ? node.seen.length : 0), 0);
}

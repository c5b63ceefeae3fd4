import type { Random } from "@muto/kit/random";
import { bytesOf, resized, written } from "./content.ts";
import type { Content } from "./content.ts";

/*
 * What a simulated disk holds, twice: as processes see it, and as the medium has it. Between the two lie the changes that
 * nobody has synced. A power cut leaves the medium with any subset of a file's unsynced sectors (torn writes included), and
 * with any prefix of the unsynced names, as a journalled file system does.
 */

export const SECTOR_BYTES = 512;
export const ROOT = 0;

export type DataChange =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly length: number };

export interface FileNode {
  readonly kind: "file";
  mode: number;
  seen: Content;
  durable: Content;
  pending: DataChange[];
  /** A sync failed and the system forgot pages: what is seen and not durable never becomes so by a later sync. */
  pagesLost: boolean;
  /** Names in the seen view and open files; the space is free again when both are gone. */
  names: number;
  handles: number;
}

export interface FolderNode {
  readonly kind: "folder";
  mode: number;
  seen: Map<string, number>;
  durable: Map<string, number>;
}

export interface SymlinkNode {
  readonly kind: "symlink";
  readonly mode: number;
  readonly target: string;
}

export type TreeNode = FileNode | FolderNode | SymlinkNode;

/** One atomic change of names: a new name, a removed one, or both at once (rename). */
export type NameChange = readonly {
  readonly folder: number;
  readonly name: string;
  readonly node: number | undefined;
}[];

export interface Tree {
  readonly nodes: Map<number, TreeNode>;
  pendingNames: NameChange[];
  nextId: number;
}

export function emptyTree(): Tree {
  const root: FolderNode = { kind: "folder", mode: 0o755, seen: new Map(), durable: new Map() };
  return { nodes: new Map([[ROOT, root]]), pendingNames: [], nextId: ROOT + 1 };
}

// ── After a power cut ───────────────────────────────────────────────────────────────────────────────────────────────

/** One unsynced sector, or one unsynced change of length. */
type Cell =
  | { readonly kind: "sector"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "atLeast"; readonly length: number }
  | { readonly kind: "exactly"; readonly length: number };

interface Survivors {
  readonly namesKept: number;
  readonly folders: ReadonlyMap<number, ReadonlyMap<string, number>>;
  /** Reachable files and links, in order of discovery. */
  readonly leaves: readonly number[];
  readonly cells: readonly { readonly file: number; readonly cell: Cell }[];
}

/** A tree as it may be found after a power cut at this moment, drawn at random. */
export function randomCrash(tree: Tree, random: Random): Tree {
  const survivors = survivorsOf(tree, Math.floor(random.fraction() * (tree.pendingNames.length + 1)));
  const density = random.fraction();
  return rebuild(tree, survivors, () => random.fraction() < density);
}

export interface CrashStates {
  readonly states: Iterable<Tree>;
  /** False when there are more than `statesMax`: then the corners and a random sample are given. */
  readonly exhaustive: boolean;
}

/** All trees that may be found after a power cut at this moment. */
export function crashStates(tree: Tree, statesMax: number, random: Random): CrashStates {
  const all = Array.from({ length: tree.pendingNames.length + 1 }, (_, namesKept) => survivorsOf(tree, namesKept));
  const count = all.reduce((sum, { cells }) => sum + 2 ** cells.length, 0);
  if (count <= statesMax) return { states: everyState(tree, all), exhaustive: true };
  return { states: sampledStates(tree, all, Math.ceil(statesMax / all.length), random), exhaustive: false };
}

function* everyState(tree: Tree, all: readonly Survivors[]): Generator<Tree> {
  for (const survivors of all) {
    for (let subset = 0; subset < 2 ** survivors.cells.length; subset++) {
      yield rebuild(tree, survivors, (index) => Math.floor(subset / 2 ** index) % 2 === 1);
    }
  }
}

function* sampledStates(tree: Tree, all: readonly Survivors[], perPrefix: number, random: Random): Generator<Tree> {
  for (const survivors of all) {
    const { length } = survivors.cells;
    const corners: ((index: number) => boolean)[] = [() => false, () => true];
    for (let one = 0; one < length; one++) {
      corners.push(
        (index) => index === one,
        (index) => index !== one,
        (index) => index < one,
      );
    }
    const step = Math.max(1, Math.ceil(corners.length / perPrefix));
    for (const [position, corner] of corners.entries()) {
      if (position < 2 || position % step === 0) yield rebuild(tree, survivors, corner);
    }
    for (let drawn = corners.length; drawn < perPrefix; drawn++) {
      yield rebuild(tree, survivors, () => random.fraction() < 0.5);
    }
  }
}

function survivorsOf(tree: Tree, namesKept: number): Survivors {
  const folders = new Map<number, Map<string, number>>();
  for (const [id, node] of tree.nodes) if (node.kind === "folder") folders.set(id, new Map(node.durable));
  for (const change of tree.pendingNames.slice(0, namesKept)) {
    for (const { folder, name, node } of change) {
      if (node === undefined) folders.get(folder)?.delete(name);
      else folders.get(folder)?.set(name, node);
    }
  }
  const reached = new Set<number>([ROOT]);
  for (const id of reached) for (const child of folders.get(id)?.values() ?? []) reached.add(child);
  const leaves = [...reached].filter((id) => tree.nodes.get(id)?.kind !== "folder");
  const cells = leaves.flatMap((file) => {
    const node = tree.nodes.get(file);
    return node?.kind === "file" ? cellsOf(node).map((cell) => ({ file, cell })) : [];
  });
  const reachedFolders = new Map([...folders].filter(([id]) => reached.has(id)));
  return { namesKept, folders: reachedFolders, leaves, cells };
}

/** Sectors that would change nothing, whichever of them survive, are left out: they would only multiply equal states. */
function cellsOf(file: FileNode): Cell[] {
  const cells: Cell[] = [];
  for (const [index, change] of file.pending.entries()) {
    if (change.kind === "truncate") {
      cells.push({ kind: "exactly", length: change.length });
      continue;
    }
    const end = change.offset + change.bytes.byteLength;
    if (end > file.durable.length) cells.push({ kind: "atLeast", length: end });
    for (let at = change.offset; at < end;) {
      const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      const bytes = change.bytes.subarray(at - change.offset, next - change.offset);
      const alone = file.pending.every((other, position) => position === index || !touches(other, at, next));
      if (!alone || !sameAsDurable(file.durable, at, bytes)) cells.push({ kind: "sector", offset: at, bytes });
      at = next;
    }
  }
  return cells;
}

function touches(change: DataChange, from: number, to: number): boolean {
  if (change.kind === "truncate") return change.length < to;
  return change.offset < to && change.offset + change.bytes.byteLength > from;
}

/** Behind its end a file reads as zeros once something makes it longer. */
function sameAsDurable(durable: Content, at: number, bytes: Uint8Array): boolean {
  const there = Buffer.alloc(bytes.byteLength);
  there.set(bytesOf(durable, at, bytes.byteLength));
  return there.equals(bytes);
}

function rebuild(tree: Tree, survivors: Survivors, survives: (index: number) => boolean): Tree {
  const rebuilt: Tree = { nodes: new Map(), pendingNames: [], nextId: tree.nextId };
  const chosen = new Map<number, Cell[]>();
  for (const [index, { file, cell }] of survivors.cells.entries()) {
    if (survives(index)) chosen.set(file, [...(chosen.get(file) ?? []), cell]);
  }
  for (const [id, entries] of survivors.folders) {
    const mode = tree.nodes.get(id)?.mode ?? 0o755;
    rebuilt.nodes.set(id, { kind: "folder", mode, seen: new Map(entries), durable: new Map(entries) });
  }
  for (const id of survivors.leaves) {
    const node = tree.nodes.get(id);
    if (node?.kind === "symlink") rebuilt.nodes.set(id, node);
    if (node?.kind !== "file") continue;
    const content = (chosen.get(id) ?? []).reduce(withCell, node.durable);
    const fresh = { seen: content, durable: content, pending: [], pagesLost: false, names: 0, handles: 0 };
    rebuilt.nodes.set(id, { kind: "file", mode: node.mode, ...fresh });
  }
  for (const entries of survivors.folders.values()) {
    for (const child of entries.values()) {
      const node = rebuilt.nodes.get(child);
      if (node?.kind === "file") node.names += 1;
    }
  }
  return rebuilt;
}

export function withChanges(content: Content, changes: readonly DataChange[]): Content {
  return changes.reduce(
    (before, change) =>
      change.kind === "write" ? written(before, change.offset, change.bytes) : resized(before, change.length),
    content,
  );
}

function withCell(content: Content, cell: Cell): Content {
  switch (cell.kind) {
    case "sector":
      return written(content, cell.offset, cell.bytes);
    case "atLeast":
      return cell.length > content.length ? resized(content, cell.length) : content;
    case "exactly":
      return resized(content, cell.length);
  }
}

import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { pack } from "tar-stream";
import type { Pack } from "tar-stream";
import { hasControlCharacter, linkStaysInside, parseArchivePath } from "./archive-path.ts";
import { gzipped } from "./gzip.ts";
import { pour } from "./pour.ts";

export type PackProblem =
  | "folder-missing"
  | "special-file"
  | "link-escapes"
  | "path-not-allowed"
  | "too-many-entries"
  /** A file grew or shrank while it was read. */
  | "changed";

/** The folder cannot become an archive that a vehicle would accept. Thrown by the stream of {@link packFolder}. */
export class PackError extends Error {
  override readonly name = "PackError";
  readonly problem: PackProblem;
  readonly path: string;

  constructor(problem: PackProblem, path: string) {
    super(`${problem}: ${path}`);
    this.problem = problem;
    this.path = path;
  }
}

const ENTRIES_MAX = 200_000;
const PATH_LIMITS = { pathBytesMax: 1024, nameBytesMax: 255 };
const READ_BYTES = 1024 * 1024;
const EPOCH = new Date(0);

/**
 * A folder as `tar.gz`, the same bytes whenever the content is the same: sorted names, no times, no owners, and of the modes
 * only whether a file is a program. What unpacking would refuse is refused here already, with {@link PackError}.
 */
export async function* packFolder(disk: Disk, folder: string): AsyncGenerator<Uint8Array> {
  if ((await disk.stat(folder))?.kind !== "folder") throw new PackError("folder-missing", folder);
  const entries: Item[] = [];
  await collect(disk, folder, "", entries);
  const links = new Map(entries.flatMap((item) => (item.kind === "symlink" ? [[item.path, item.target]] : [])));
  for (const path of links.keys()) if (!linkStaysInside(path, links)) throw new PackError("link-escapes", path);
  yield* gzipped(tarOf(disk, folder, entries));
}

type Item =
  | { readonly path: string; readonly kind: "folder" }
  | { readonly path: string; readonly kind: "file"; readonly program: boolean; readonly sizeBytes: number }
  | { readonly path: string; readonly kind: "symlink"; readonly target: string };

async function collect(disk: Disk, folder: string, below: string, items: Item[]): Promise<void> {
  for (const { name, kind } of await disk.list(join(folder, below))) {
    const path = below === "" ? name : `${below}/${name}`;
    if (!parseArchivePath(path, PATH_LIMITS).ok) throw new PackError("path-not-allowed", path);
    if (items.length >= ENTRIES_MAX) throw new PackError("too-many-entries", path);
    if (kind === "other") throw new PackError("special-file", path);
    if (kind === "folder") {
      items.push({ path, kind });
      await collect(disk, folder, path, items);
    } else if (kind === "symlink") {
      const target = (await disk.readLink(join(folder, path))) ?? "";
      if (target === "" || hasControlCharacter(target)) throw new PackError("link-escapes", path);
      items.push({ path, kind, target });
    } else {
      const found = await disk.stat(join(folder, path));
      if (found === undefined) throw new PackError("changed", path);
      items.push({ path, kind, program: (found.mode & 0o100) !== 0, sizeBytes: found.sizeBytes });
    }
  }
}

async function* tarOf(disk: Disk, folder: string, items: readonly Item[]): AsyncGenerator<Uint8Array> {
  const archive = pack();
  const writing = writeItems(disk, folder, items, archive).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error("packing failed", { cause: error }));
  });
  try {
    for await (const chunk of archive) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError("the archive gave no bytes");
      yield chunk;
    }
  } finally {
    archive.destroy(null);
    await writing;
  }
}

const COMMON = { mtime: EPOCH, uid: 0, gid: 0, uname: "", gname: "" } as const;

async function writeItems(disk: Disk, folder: string, items: readonly Item[], archive: Pack): Promise<void> {
  for (const item of items) {
    if (archive.destroyed) return;
    if (item.kind === "folder") archive.entry({ ...COMMON, name: item.path, type: "directory", mode: 0o755 });
    else if (item.kind === "symlink") {
      archive.entry({ ...COMMON, name: item.path, type: "symlink", linkname: item.target, mode: 0o777 });
    } else await writeFile(disk, folder, item, archive);
  }
  archive.finalize();
}

async function writeFile(
  disk: Disk,
  folder: string,
  item: Extract<Item, { kind: "file" }>,
  archive: Pack,
): Promise<void> {
  const { path, program, sizeBytes } = item;
  const mode = program ? 0o755 : 0o644;
  const done = Promise.withResolvers<void>();
  const entry = archive.entry({ ...COMMON, name: path, type: "file", mode, size: sizeBytes }, (error) =>
    error === null || error === undefined ? done.resolve() : done.reject(error),
  );
  // Rejections are awaited below; one that comes while a piece is still being read must not go unheard meanwhile.
  done.promise.catch(() => {});
  entry.on("error", () => {});
  await pour(piecesOf(disk, folder, path, sizeBytes), entry, (wake) => {
    entry.on("drain", wake);
    entry.on("close", wake);
  });
  await done.promise;
}

async function* piecesOf(disk: Disk, folder: string, path: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  await using file = await disk.open(join(folder, path), "read");
  if ((await file.sizeBytes()) !== sizeBytes) throw new PackError("changed", path);
  for (let offset = 0; offset < sizeBytes; offset += READ_BYTES) {
    const piece = await file.read(offset, Math.min(READ_BYTES, sizeBytes - offset));
    if (piece.byteLength === 0) throw new PackError("changed", path);
    yield piece;
  }
}

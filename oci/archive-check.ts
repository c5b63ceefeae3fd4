import { join } from "node:path";
import type { Disk, DiskFile } from "@muto/kit/disk";
import type { Problem, StackManifest } from "@muto/spec";
import { unpack } from "./unpack.ts";
import type { Unpacked } from "./unpack.ts";

/** Reads an archive exactly as a vehicle will, with every check of {@link unpack}, and writes nothing. */
export async function checkArchive(source: AsyncIterable<Uint8Array>): Promise<Unpacked> {
  return await unpack(nowhere(), source, { folder: "/archive" });
}

/** What an archive holds, by plain relative path. */
export type ArchiveContent = (path: string) => Promise<ContentKind | undefined>;

export type ContentKind = "program" | "file" | "folder" | "symlink";

export function contentOfFolder(disk: Disk, folder: string): ArchiveContent {
  return async (path) => {
    const found = await disk.stat(join(folder, path));
    if (found === undefined || found.kind === "other") return undefined;
    return found.kind === "file" ? ((found.mode & 0o100) === 0 ? "file" : "program") : found.kind;
  };
}

export function contentOfListing({ listing }: Extract<Unpacked, { ok: true }>): ArchiveContent {
  const entries = new Map(listing.map((entry) => [entry.path, entry]));
  return async (path) => {
    const entry = entries.get(path);
    return entry?.kind === "file" ? ((entry.mode & 0o100) === 0 ? "file" : "program") : entry?.kind;
  };
}

/**
 * The program and the setup files of a workload that should be in its archive and are not: it would fail on every vehicle. What
 * lies behind a link, in the vehicle's own file system, or in the PATH of setup files cannot be known here.
 */
export async function archiveProblems(
  workload: Extract<StackManifest["workloads"][number], { type: "native" }>,
  content: ArchiveContent,
  path: string,
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  const [program = ""] = workload.argv;
  const inArchive = !program.startsWith("/") && (program.includes("/") || workload.setup.length === 0);
  const kind = inArchive ? await find(content, program) : "program";
  if (kind === "missing" || kind === "folder") {
    problems.push({ path: `${path}/argv/0`, message: `${program} is not in the archive` });
  } else if (kind === "file") problems.push({ path: `${path}/argv/0`, message: `${program} is not executable` });
  for (const [index, file] of workload.setup.entries()) {
    if (file.startsWith("/")) continue;
    const found = await find(content, file);
    if (found === "missing" || found === "folder") {
      problems.push({ path: `${path}/setup/${index}`, message: `${file} is not in the archive` });
    }
  }
  return problems;
}

async function find(content: ArchiveContent, path: string): Promise<ContentKind | "missing"> {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  let kind: ContentKind | undefined;
  for (const [index] of parts.entries()) {
    kind = await content(parts.slice(0, index + 1).join("/"));
    if (kind === undefined) return "missing";
    if (kind === "symlink") return kind;
  }
  return kind ?? "folder";
}

function nowhere(): Disk {
  const nothing = async () => {};
  const never = async () => await Promise.reject(new Error("a check reads nothing back"));
  const file: DiskFile = {
    read: never,
    write: nothing,
    truncate: nothing,
    sizeBytes: never,
    sync: nothing,
    close: nothing,
    [Symbol.asyncDispose]: nothing,
  };
  return {
    read: never,
    list: never,
    stat: async () => undefined,
    makeFolder: nothing,
    open: async () => file,
    symlink: nothing,
    readLink: never,
    link: nothing,
    rename: nothing,
    remove: nothing,
    setPermissions: nothing,
    syncFolder: nothing,
    freeBytes: never,
  };
}

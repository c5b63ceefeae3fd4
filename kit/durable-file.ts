import { dirname, join } from "node:path";
import type { Disk } from "./disk.ts";

const TEMPORARY = ".durable~";

/**
 * Replaces the whole content of a file: after any crash it holds the old bytes or the new ones, never a mix, and once this
 * resolves it holds the new ones. Rejects with a DiskError when the disk refuses; the old content then still stands, or,
 * when only the last step failed, the new one may. Two writers of one path at the same time are a bug of the caller.
 */
export async function writeDurably(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
  options: { readonly permissions?: number } = {},
): Promise<void> {
  const temporary = `${path}${TEMPORARY}`;
  await disk.remove(temporary);
  try {
    await fill(disk, temporary, bytes, options.permissions);
    await disk.rename(temporary, path);
  } catch (error) {
    // The refusal that is being reported matters more than a file left over, which the next start removes.
    await disk.remove(temporary).catch(() => {});
    throw error;
  }
  await disk.syncFolder(dirname(path));
}

/**
 * To be called for a folder at start, before anything in it is believed: removes what an interrupted
 * {@link writeDurably} left over, and makes durable the names that a killed process had not made durable yet, so that
 * what is read now cannot be taken back by a later power cut. Returns how many files were removed.
 */
export async function removeLeftovers(disk: Disk, folder: string): Promise<number> {
  const leftovers = (await disk.list(folder)).filter(({ name }) => name.endsWith(TEMPORARY));
  for (const { name } of leftovers) await disk.remove(join(folder, name));
  if ((await disk.stat(folder)) !== undefined) await disk.syncFolder(folder);
  return leftovers.length;
}

async function fill(disk: Disk, path: string, bytes: Uint8Array, permissions: number | undefined): Promise<void> {
  await using file = await disk.open(path, "create", permissions);
  await file.write(0, bytes);
  await file.sync();
}

import { join } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { fileSource } from "./blob-source.ts";
import type { BlobSource } from "./blob-source.ts";
import { findInTar } from "./tar-index.ts";
import type { TarIndex } from "./tar-index.ts";

/** The files of an image on disk, in a folder or in place inside a tar. */
export interface ImageFiles {
  find(name: string): Promise<ImageFile | undefined>;
}

export interface ImageFile extends BlobSource {
  readonly sizeBytes: number;
}

const READ_BYTES = 1024 * 1024;

export function folderFiles(disk: Disk, folder: string): ImageFiles {
  return {
    find: async (name) => {
      const path = join(folder, name);
      if ((await disk.stat(path)) === undefined) return undefined;
      await using file = await disk.open(path, "read");
      return { ...fileSource(disk, path), sizeBytes: await file.sizeBytes() };
    },
  };
}

export function tarFiles(disk: Disk, path: string, index: TarIndex): ImageFiles {
  return {
    find: async (name) => {
      const found = findInTar(index, name);
      return found && { ...fileSource(disk, path, found.offset), sizeBytes: found.sizeBytes };
    },
  };
}

/** The bytes of a file, undefined when it is larger than expected. */
export async function readSmall(file: ImageFile, bytesMax: number): Promise<Uint8Array | undefined> {
  if (file.sizeBytes > bytesMax) return undefined;
  await using opened = await file.open();
  return await opened.read(0, file.sizeBytes);
}

export async function* bytesOf(file: ImageFile): AsyncGenerator<Uint8Array> {
  await using opened = await file.open();
  for (let offset = 0; offset < file.sizeBytes; offset += READ_BYTES) {
    const piece = await opened.read(offset, Math.min(READ_BYTES, file.sizeBytes - offset));
    yield piece;
    if (piece.byteLength < READ_BYTES) return;
  }
}

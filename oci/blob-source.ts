import type { Disk } from "@muto/kit/disk";

/** Where the bytes of a blob that is to be pushed come from. Opened only when the registry does not have it yet. */
export interface BlobSource {
  /** Rejects with a {@link BlobSourceError} when the bytes cannot be had. */
  open(signal?: AbortSignal): Promise<OpenBlob>;
  /** Where the blob lies already, when it is copied from a registry: one that is the same can take it from there by itself. */
  readonly origin?: BlobOrigin;
}

export interface BlobOrigin {
  /** Origin of the registry, as its client has it. */
  readonly registry: string;
  readonly repository: string;
}

export interface OpenBlob extends AsyncDisposable {
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** The source of a blob failed while it was being pushed. */
export class BlobSourceError extends Error {
  override readonly name = "BlobSourceError";
}

/** A file, or a part of one that begins at `offset`. */
export function fileSource(disk: Disk, path: string, offset = 0): BlobSource {
  return {
    open: async () => {
      const file = await disk.open(path, "read");
      return {
        read: (from, length) => file.read(offset + from, length),
        [Symbol.asyncDispose]: () => file.close(),
      };
    },
  };
}

export function bytesSource(bytes: Uint8Array): BlobSource {
  return {
    open: async () => ({
      read: async (from, length) => bytes.subarray(from, from + length),
      [Symbol.asyncDispose]: async () => {},
    }),
  };
}

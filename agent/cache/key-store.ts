import { dirname } from "node:path";
import type { Disk } from "@muto/kit/disk";
import { removeLeftovers, writeDurably } from "@muto/kit/durable-file";

const ONLY_OWNER = 0o600;

export interface StoredKey {
  /** PKCS #8 in PEM; not parsed here. */
  readonly privatePem: string;
  /** True when it did not exist before. */
  readonly created: boolean;
  /** The file could be read by others; it cannot any more, but whoever could may have. Worth a warning and a new key. */
  readonly wasExposed: boolean;
}

/**
 * The vehicle's private key: made on the vehicle, once, and durable before anybody hears of its public half; otherwise a
 * power cut could leave the cloud with a key that no vehicle has. Rejects with a DiskError when the disk refuses.
 */
export async function loadOrCreateKey(options: {
  readonly disk: Disk;
  readonly path: string;
  /** Makes a key pair and returns the private half as PEM. */
  readonly generate: () => Promise<string>;
}): Promise<StoredKey> {
  const { disk, path, generate } = options;
  await disk.makeFolder(dirname(path));
  await removeLeftovers(disk, dirname(path));
  const stored = await disk.read(path);
  if (stored === undefined) {
    const privatePem = await generate();
    await writeDurably(disk, path, new TextEncoder().encode(privatePem), { permissions: ONLY_OWNER });
    return { privatePem, created: true, wasExposed: false };
  }
  const file = await disk.stat(path);
  const wasExposed = file?.kind === "file" && (file.mode & 0o077) !== 0;
  if (wasExposed) await disk.setPermissions(path, ONLY_OWNER);
  return { privatePem: new TextDecoder().decode(stored), created: false, wasExposed };
}

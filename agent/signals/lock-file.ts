import type { Clock } from "@muto/kit/clock";
import { DiskError, type Disk } from "@muto/kit/disk";
import { parseJson, parseLockFile } from "@muto/spec";
import { LOCK_SOURCE } from "../safety/hold.ts";
import type { LocalLock } from "../safety/signals.ts";

/** A lock says who, why and until when. */
const BYTES_MAX = 4_096;
const DEPTH_MAX = 4;

/** A release is noticed within this time; one look at the file system a second costs nothing. */
const POLL_MS = 1_000;

/**
 * What the lock file says at this moment. Its existence holds, whatever stands in it: a program that wrote half a line before it
 * died has said "not now" all the same.
 */
export async function readLock(disk: Disk, path: string): Promise<LocalLock> {
  try {
    const found = await disk.stat(path);
    if (found === undefined) return { kind: "none" };
    const bytes = found.sizeBytes > BYTES_MAX ? new Uint8Array() : await disk.read(path);
    return bytes === undefined ? { kind: "none" } : lockIn(bytes);
  } catch (error) {
    if (error instanceof DiskError) return { kind: "unreadable" };
    throw error;
  }
}

function lockIn(bytes: Uint8Array): LocalLock {
  const json = parseJson(bytes, { bytesMax: BYTES_MAX, depthMax: DEPTH_MAX });
  const lock = json.ok ? parseLockFile(json.value) : json;
  const { by = LOCK_SOURCE, reason = "other", until } = lock.ok ? lock.value : {};
  const untilWallMs = until === undefined ? Number.NaN : Date.parse(until);
  return { kind: "held", who: by, why: reason, untilWallMs: Number.isFinite(untilWallMs) ? untilWallMs : null };
}

/** Calls back when the lock comes, goes or changes, until told to stop. */
export async function watchLock(
  { disk, clock }: { readonly disk: Disk; readonly clock: Clock },
  path: string,
  onChange: () => void,
  stop: AbortSignal,
): Promise<void> {
  let before = JSON.stringify(await readLock(disk, path));
  while (!stop.aborted) {
    await clock.sleep(POLL_MS, stop);
    const now = JSON.stringify(await readLock(disk, path));
    if (now !== before) onChange();
    before = now;
  }
}

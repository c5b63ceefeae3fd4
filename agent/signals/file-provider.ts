import { constants, watch, type FSWatcher } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { createWake } from "@muto/kit/wake";
import { LINE_BYTES_MAX, parseLine, type OnLine } from "./line.ts";

export interface FileProviderOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onLine: OnLine;
}

/** Looks this often even when the operating system reports no change (network file systems, a folder made later). */
const POLL_MS = 250;

/** A gateway that writes faster than this is heard at this pace; its last line counts. */
const LOOK_INTERVAL_MS_MIN = 20;

const NEWLINE = 0x0a;

/**
 * The last complete line of a file, heard each time somebody writes it. A sample is as old as the write that brought it, so
 * a file that nobody writes any more goes stale, whatever it says. What the file held before the first look is not a
 * sample: it may be left over from yesterday, from before the reboot or before the clock was set (H6, H25). That look is
 * over when this resolves.
 *
 * Gateways append lines, or replace the file by renaming; both are safe. A file that is being overwritten in place is
 * read when its last line is whole.
 */
export async function openFileProvider(options: FileProviderOptions): Promise<AsyncDisposable> {
  const { path, clock, logger } = options;
  const stop = new AbortController();
  const wake = createWake(clock);
  const watcher = watchFolder(path, () => wake.ring());
  const first = await look(path);
  const running = follow(options, first, wake, stop.signal).catch((error: unknown) => {
    logger.error("signal file is no longer followed", { path, error });
  });
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      watcher?.close();
      await running;
    },
  };
}

/** What makes one state of a file different from the next, even if its bytes are the same: a gateway at rest repeats itself. */
interface Version {
  readonly inode: bigint;
  readonly modifiedNs: bigint;
  readonly sizeBytes: bigint;
}

type Look =
  | { readonly kind: "absent" }
  | { readonly kind: "file"; readonly version: Version; readonly line: Uint8Array | "too-long" | undefined }
  | { readonly kind: "unreadable"; readonly code: string };

async function follow(
  options: FileProviderOptions,
  first: Look,
  wake: ReturnType<typeof createWake>,
  stop: AbortSignal,
): Promise<void> {
  const { path, clock, logger, onLine } = options;
  let before = first;
  if (first.kind === "unreadable") logger.warn("signal file cannot be read", { path, code: first.code });
  while (!stop.aborted) {
    await wake.wait(POLL_MS, stop);
    if (stop.aborted) return;
    const now = await look(path);
    if (now.kind === "unreadable" && !(before.kind === "unreadable" && before.code === now.code)) {
      logger.warn("signal file cannot be read", { path, code: now.code });
    }
    if (now.kind === "file" && isNewer(now, before) && now.line !== undefined) {
      onLine(now.line === "too-long" ? "malformed" : parseLine(now.line));
    }
    before = now;
    await clock.sleep(LOOK_INTERVAL_MS_MIN, stop);
  }
}

/** The bytes count too: two writes within one tick of the file system's clock bear the same time. */
function isNewer(now: Extract<Look, { kind: "file" }>, before: Look): boolean {
  if (before.kind !== "file") return true;
  const { inode, modifiedNs, sizeBytes } = before.version;
  const { version, line } = now;
  const isSameVersion = version.inode === inode && version.modifiedNs === modifiedNs && version.sizeBytes === sizeBytes;
  return !isSameVersion || String(line) !== String(before.line);
}

async function look(path: string): Promise<Look> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK a named pipe in the file's place would hold this thread up for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    return code === "ENOENT" ? { kind: "absent" } : { kind: "unreadable", code };
  }
  try {
    const stat = await handle.stat({ bigint: true });
    if (!stat.isFile()) return { kind: "unreadable", code: "ENOTFILE" };
    const version = { inode: stat.ino, modifiedNs: stat.mtimeNs, sizeBytes: stat.size };
    return { kind: "file", version, line: await lastLine(handle, Number(stat.size)) };
  } catch (error) {
    return { kind: "unreadable", code: codeOf(error) };
  } finally {
    await handle.close();
  }
}

/**
 * The text after the last line end, if it is a whole object; else the line before it, but only when nothing follows it. An
 * unfinished line means that the writer is at work: the line before it was heard already, and is not heard again.
 */
async function lastLine(handle: FileHandle, sizeBytes: number): Promise<Uint8Array | "too-long" | undefined> {
  const windowBytes = Math.min(sizeBytes, LINE_BYTES_MAX + 2);
  const bytes = new Uint8Array(windowBytes);
  const { bytesRead } = await handle.read(bytes, 0, windowBytes, sizeBytes - windowBytes);
  const tail = bytes.subarray(0, bytesRead);
  if (tail.byteLength === 0) return undefined;
  const isEnded = tail.at(-1) === NEWLINE;
  const text = isEnded ? tail.subarray(0, -1) : tail;
  const start = text.lastIndexOf(NEWLINE) + 1;
  const isWhole = start > 0 || windowBytes === sizeBytes;
  const line = text.subarray(start);
  if (!isWhole || line.byteLength > LINE_BYTES_MAX) return "too-long";
  return isEnded || parseLine(line) !== "malformed" ? line : undefined;
}

/** The folder and not the file, because a file that is replaced by renaming is another file. Undefined when it cannot be watched. */
function watchFolder(path: string, onChange: () => void): FSWatcher | undefined {
  try {
    const name = basename(path);
    const watcher = watch(dirname(path), { persistent: false }, (_, changed) => {
      if (changed === null || changed === name) onChange();
    });
    // A watch that ends (folder removed, too many watches) leaves the poll, which is enough.
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "UNKNOWN";
}

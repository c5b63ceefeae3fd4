import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { DiskError } from "./disk.ts";
import type { Disk, DiskFile } from "./disk.ts";

/*
 * A small append-only journal for state that must survive any crash.
 *
 * The file is preallocated with zeros and appends overwrite them in place, so that a record fits even on a full disk (H8).
 * Behind the last record everything is zero. Each append is written and synced before the next begins, so at most the
 * last record can be torn, and only one that nobody was told is durable.
 *
 * A second file of the same size, the spare, waits beside it. Compaction fills the spare, syncs it, renames it over the
 * journal and syncs the folder; the old file, kept alive by a second name meanwhile, becomes the next spare. So
 * compaction, too, needs no free space.
 *
 * Names: PATH the journal, PATH.spare, PATH.old (only while compacting), PATH.damaged (kept for whoever investigates).
 */

export interface JournalLimits {
  /** Size of the preallocated file; the spare takes the same again. Grows at a compaction only if the records demand it. */
  readonly capacityBytes: number;
  /** The last bytes of the file, which only appends to the reserve may use. */
  readonly reserveBytes: number;
  readonly recordBytesMax: number;
}

/**
 * How the file was found. `torn`: the end of an append that was interrupted before anybody was told that it is durable;
 * dropped. (A fault of the medium in the very last record looks the same.) `damaged`: bytes that had been durable are
 * wrong. `records` then holds what stands before the damage, `salvaged` what is readable behind it, in order, and the
 * journal takes no append before `compact` has written a new file; the damaged one is kept beside it.
 */
export type JournalFound =
  | { readonly kind: "created" }
  | { readonly kind: "intact" }
  | { readonly kind: "torn"; readonly droppedBytes: number }
  | { readonly kind: "damaged"; readonly atByte: number; readonly salvaged: readonly Uint8Array[] };

export type JournalUse = "ordinary" | "reserve";

export interface OpenedJournal {
  readonly journal: Journal;
  readonly found: JournalFound;
  /** What the file held, oldest first. */
  readonly records: readonly Uint8Array[];
}

export interface Journal extends AsyncDisposable {
  /** Durable when it resolves; otherwise rejects with a {@link JournalError}. Calls are carried out one after the other. */
  append(record: Uint8Array, use?: JournalUse): Promise<void>;
  /** Replaces all records by these, atomically. Needs no free space unless they outgrow the file. */
  compact(records: readonly Uint8Array[]): Promise<void>;
  /** Whether an append of so many bytes finds room without compaction. */
  hasRoom(recordBytes: number, use?: JournalUse): boolean;
  /** What made this journal refuse for good; a new process may open it again. */
  readonly fault: JournalError | undefined;
  /** Bytes in use, header included. */
  readonly sizeBytes: number;
  readonly capacityBytes: number;
  close(): Promise<void>;
}

/**
 * `tooLarge`: more than `recordBytesMax`. `full`: compact first. `noSpace`: a compaction had to grow and the disk is full;
 * the old records still stand and may be appended to. `damaged`: compact first. `faulted`: the disk failed a write or a
 * sync. Which bytes reached the medium is then unknown, and a second sync would lie (the system forgets the pages that it
 * could not write), so this journal never touches the file again. `closed`: a bug of the caller.
 */
export type JournalErrorCode = "tooLarge" | "full" | "noSpace" | "damaged" | "faulted" | "closed";

export class JournalError extends Error {
  override readonly name = "JournalError";
  readonly code: JournalErrorCode;

  constructor(code: JournalErrorCode, path: string, options?: ErrorOptions) {
    super(`journal ${path}: ${code}`, options);
    this.code = code;
  }
}

export interface JournalOptions {
  readonly disk: Disk;
  /** Absolute; its folder exists. */
  readonly path: string;
  readonly limits: JournalLimits;
}

/** Opens or creates a journal. Rejects with a DiskError when the disk refuses. What it returns as read is durable. */
export async function openJournal(options: JournalOptions): Promise<OpenedJournal> {
  const { disk, path, limits } = options;
  await finishCompaction(disk, path);
  let bytes = await disk.read(path);
  const created = bytes === undefined;
  if (bytes === undefined) {
    bytes = encodeFile([], 1n, fileBytesFor(FILE_HEADER_BYTES, limits));
    await fillSpare(disk, path, bytes);
    await disk.rename(sparePath(path), path);
  }
  const scan = scanFile(bytes);
  const file = await disk.open(path, "update");
  try {
    if (scan.found.kind !== "damaged") await settle(file, bytes, scan);
    await disk.syncFolder(dirname(path));
    await ensureSpare(disk, path, bytes.byteLength);
    const journal = new FileJournal(options, file, bytes.byteLength, scan);
    return { journal, found: created ? { kind: "created" } : scan.found, records: scan.records };
  } catch (error) {
    await file.close();
    throw error;
  }
}

class FileJournal implements Journal {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #limits: JournalLimits;
  #file: DiskFile;
  #capacityBytes: number;
  #sizeBytes: number;
  #sequence: bigint;
  #damaged: boolean;
  #closed = false;
  #fault: JournalError | undefined;
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor({ disk, path, limits }: JournalOptions, file: DiskFile, capacityBytes: number, scan: Scan) {
    this.#disk = disk;
    this.#path = path;
    this.#limits = limits;
    this.#file = file;
    this.#capacityBytes = capacityBytes;
    this.#sizeBytes = scan.usedBytes;
    this.#sequence = scan.nextSequence;
    this.#damaged = scan.found.kind === "damaged";
  }

  get fault(): JournalError | undefined {
    return this.#fault;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  hasRoom(recordBytes: number, use: JournalUse = "ordinary"): boolean {
    const limit = this.#capacityBytes - (use === "reserve" ? 0 : this.#limits.reserveBytes);
    return this.#sizeBytes + FRAME_HEADER_BYTES + recordBytes <= limit;
  }

  append(record: Uint8Array, use: JournalUse = "ordinary"): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseUnless([record]);
      if (this.#damaged) throw new JournalError("damaged", this.#path);
      if (!this.hasRoom(record.byteLength, use)) throw new JournalError("full", this.#path);
      const frame = encodeFrame(record, this.#sequence);
      await this.#orFault(async () => {
        await this.#file.write(this.#sizeBytes, frame);
        await this.#file.sync();
      });
      this.#sizeBytes += frame.byteLength;
      this.#sequence += 1n;
    });
  }

  compact(records: readonly Uint8Array[]): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseUnless(records);
      const usedBytes = records.reduce(
        (sum, { byteLength }) => sum + FRAME_HEADER_BYTES + byteLength,
        FILE_HEADER_BYTES,
      );
      const content = encodeFile(records, this.#sequence, fileBytesFor(usedBytes, this.#limits));
      await this.#orFault(async () => {
        try {
          await fillSpare(this.#disk, this.#path, content);
        } catch (error) {
          if (isNoSpace(error)) throw new JournalError("noSpace", this.#path, { cause: error });
          throw error;
        }
        await switchToSpare(this.#disk, this.#path, this.#damaged ? `${this.#path}.damaged` : sparePath(this.#path));
        const before = this.#file;
        this.#file = await this.#disk.open(this.#path, "update");
        await before.close();
        await ensureSpare(this.#disk, this.#path, content.byteLength);
      });
      this.#capacityBytes = content.byteLength;
      this.#sizeBytes = usedBytes;
      this.#sequence += BigInt(records.length);
      this.#damaged = false;
    });
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#closed) return;
      this.#closed = true;
      await this.#file.close();
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }

  #refuseUnless(records: readonly Uint8Array[]): void {
    if (this.#closed) throw new JournalError("closed", this.#path);
    if (this.#fault !== undefined) throw this.#fault;
    if (records.some(({ byteLength }) => byteLength > this.#limits.recordBytesMax)) {
      throw new JournalError("tooLarge", this.#path);
    }
  }

  async #orFault(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#fault = new JournalError("faulted", this.#path, { cause: error });
      throw this.#fault;
    }
  }
}

// ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Makes durable what the scan believed, and wipes what it dropped, so that zeros follow the last record again. */
async function settle(file: DiskFile, bytes: Uint8Array, scan: Scan): Promise<void> {
  if (scan.found.kind === "torn") await file.write(scan.usedBytes, new Uint8Array(scan.found.droppedBytes));
  // A process that was killed, or whose sync failed, between write and sync leaves a last record that can be read now and
  // be gone after a power cut. Syncing alone is not enough: the system forgets pages that it failed to write.
  if (scan.records.length > 0) await file.write(scan.lastFrameAt, bytes.subarray(scan.lastFrameAt, scan.usedBytes));
  await file.sync();
}

/** Writes a whole new journal file into the spare, which keeps its old size when the disk has no space for a larger one. */
async function fillSpare(disk: Disk, path: string, content: Uint8Array): Promise<void> {
  const spare = sparePath(path);
  const sizeBefore = (await disk.stat(spare))?.sizeBytes;
  try {
    await using file = await disk.open(spare, sizeBefore === undefined ? "create" : "update");
    try {
      if (sizeBefore !== undefined && sizeBefore > content.byteLength) await file.truncate(content.byteLength);
      await file.write(0, content);
      await file.sync();
    } catch (error) {
      if (isNoSpace(error) && sizeBefore !== undefined) await file.truncate(sizeBefore);
      throw error;
    }
  } catch (error) {
    if (!isNoSpace(error) || sizeBefore === undefined) await disk.remove(spare).catch(() => {});
    throw error;
  }
}

async function switchToSpare(disk: Disk, path: string, keepAs: string): Promise<void> {
  const kept = await keepUnderSecondName(disk, path);
  await disk.rename(sparePath(path), path);
  await disk.syncFolder(dirname(path));
  if (kept) await disk.rename(oldPath(path), keepAs);
}

/** Without a second name (a file system without hard links) the old file is lost and the spare is made anew: no harm. */
async function keepUnderSecondName(disk: Disk, path: string): Promise<boolean> {
  try {
    await disk.remove(oldPath(path));
    await disk.link(path, oldPath(path));
    return true;
  } catch (error) {
    if (error instanceof DiskError) return false;
    throw error;
  }
}

/** The switch takes the spare's name away, so as long as a spare exists the second name is of a switch that did not happen. */
async function finishCompaction(disk: Disk, path: string): Promise<void> {
  if ((await disk.stat(oldPath(path))) === undefined) return;
  if ((await disk.stat(sparePath(path))) === undefined) await disk.rename(oldPath(path), sparePath(path));
  else await disk.remove(oldPath(path));
}

/** A full disk is no reason to stop: only the next compaction then needs space. */
async function ensureSpare(disk: Disk, path: string, bytes: number): Promise<void> {
  if ((await disk.stat(sparePath(path))) !== undefined) return;
  try {
    await fillSpare(disk, path, new Uint8Array(bytes));
  } catch (error) {
    if (!isNoSpace(error)) throw error;
  }
}

function sparePath(path: string): string {
  return `${path}.spare`;
}

function oldPath(path: string): string {
  return `${path}.old`;
}

function isNoSpace(error: unknown): boolean {
  return error instanceof DiskError && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

// ── Format ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/*
 * File header: 8 bytes "MUTOJNL1", sequence of the first record (u64), CRC-32 of these 16 bytes (u32), 4 zero bytes.
 * Frame: magic (u32, not possible in JSON text), length (u32), sequence (u64), CRC-32 of these 16 bytes and the record
 * (u32), the record. All little-endian; sequences are contiguous and go on across compactions.
 */
const FILE_MAGIC = Buffer.from("MUTOJNL1", "latin1");
const FILE_HEADER_BYTES = 24;
const FRAME_MAGIC = Buffer.from([0x9f, 0x4d, 0x4a, 0x01]);
const FRAME_HEADER_BYTES = 20;
const ZEROS = Buffer.alloc(4096);

interface Scan {
  readonly found: JournalFound;
  readonly records: readonly Uint8Array[];
  readonly usedBytes: number;
  readonly lastFrameAt: number;
  readonly nextSequence: bigint;
}

function encodeFrame(record: Uint8Array, sequence: bigint): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + record.byteLength);
  frame.set(FRAME_MAGIC, 0);
  frame.writeUInt32LE(record.byteLength, 4);
  frame.writeBigUInt64LE(sequence, 8);
  frame.writeUInt32LE(crc32(record, crc32(frame.subarray(0, 16))), 16);
  frame.set(record, FRAME_HEADER_BYTES);
  return frame;
}

function encodeFile(records: readonly Uint8Array[], firstSequence: bigint, fileBytes: number): Buffer {
  const file = Buffer.alloc(fileBytes);
  file.set(FILE_MAGIC, 0);
  file.writeBigUInt64LE(firstSequence, 8);
  file.writeUInt32LE(crc32(file.subarray(0, 16)), 16);
  let at = FILE_HEADER_BYTES;
  for (const [index, record] of records.entries()) {
    at += encodeFrame(record, firstSequence + BigInt(index)).copy(file, at);
  }
  return file;
}

/** The configured capacity, or as much more as the records and half as much again of growth need. */
function fileBytesFor(usedBytes: number, limits: JournalLimits): number {
  const neededBytes = usedBytes + limits.reserveBytes;
  return neededBytes <= limits.capacityBytes ? limits.capacityBytes : Math.ceil(neededBytes * 1.5);
}

function scanFile(bytes: Uint8Array): Scan {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  let at = FILE_HEADER_BYTES;
  let lastFrameAt = at;
  let sequence = firstSequenceOf(view);
  if (sequence === undefined) {
    const salvaged = framesBehind(view, 0, 0n);
    return {
      found: { kind: "damaged", atByte: 0, salvaged: salvaged.records },
      records,
      usedBytes: FILE_HEADER_BYTES,
      lastFrameAt,
      nextSequence: salvaged.nextSequence,
    };
  }
  for (let frame = frameAt(view, at); frame?.sequence === sequence; frame = frameAt(view, at)) {
    records.push(frame.record);
    lastFrameAt = at;
    at = frame.end;
    sequence += 1n;
  }
  const salvaged = framesBehind(view, at, sequence);
  const droppedBytes = lengthWithoutZeros(view.subarray(at));
  const common = { records, usedBytes: at, lastFrameAt, nextSequence: salvaged.nextSequence };
  if (salvaged.records.length > 0) {
    return { ...common, found: { kind: "damaged", atByte: at, salvaged: salvaged.records } };
  }
  return { ...common, found: droppedBytes > 0 ? { kind: "torn", droppedBytes } : { kind: "intact" } };
}

function firstSequenceOf(file: Buffer): bigint | undefined {
  if (file.byteLength < FILE_HEADER_BYTES || !file.subarray(0, FILE_MAGIC.byteLength).equals(FILE_MAGIC))
    return undefined;
  return crc32(file.subarray(0, 16)) === file.readUInt32LE(16) ? file.readBigUInt64LE(8) : undefined;
}

function frameAt(
  file: Buffer,
  at: number,
): { readonly record: Uint8Array; readonly sequence: bigint; readonly end: number } | undefined {
  if (at + FRAME_HEADER_BYTES > file.byteLength) return undefined;
  if (!file.subarray(at, at + FRAME_MAGIC.byteLength).equals(FRAME_MAGIC)) return undefined;
  const end = at + FRAME_HEADER_BYTES + file.readUInt32LE(at + 4);
  if (end > file.byteLength) return undefined;
  const record = file.subarray(at + FRAME_HEADER_BYTES, end);
  if (crc32(record, crc32(file.subarray(at, at + 16))) !== file.readUInt32LE(at + 16)) return undefined;
  return { record: new Uint8Array(record), sequence: file.readBigUInt64LE(at + 8), end };
}

/** Every whole record of a higher or equal sequence behind bytes that are not one. */
function framesBehind(file: Buffer, from: number, fromSequence: bigint) {
  const records: Uint8Array[] = [];
  let nextSequence = fromSequence;
  let at = file.indexOf(FRAME_MAGIC, from);
  while (at >= 0) {
    const frame = frameAt(file, at);
    const counts = frame !== undefined && frame.sequence >= nextSequence;
    if (counts) {
      records.push(frame.record);
      nextSequence = frame.sequence + 1n;
    }
    at = file.indexOf(FRAME_MAGIC, counts ? frame.end : at + 1);
  }
  return { records, nextSequence };
}

function lengthWithoutZeros(bytes: Buffer): number {
  let length = bytes.byteLength;
  while (length >= ZEROS.byteLength && bytes.subarray(length - ZEROS.byteLength, length).equals(ZEROS)) {
    length -= ZEROS.byteLength;
  }
  while (length > 0 && bytes[length - 1] === 0) length -= 1;
  return length;
}

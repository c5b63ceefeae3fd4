import type { Disk, DiskFile } from "@muto/kit/disk";

/**
 * Where everything lies in a plain tar, so that a large one is read in place and never unpacked. POSIX and GNU long names and
 * sizes are understood. Names are plain (`a/b`); what has another kind than file or link is left out.
 */
export interface TarIndex {
  readonly files: ReadonlyMap<string, { readonly offset: number; readonly sizeBytes: number }>;
  /** What links name, as they say it. */
  readonly links: ReadonlyMap<string, string>;
}

const BLOCK_BYTES = 512;
const ENTRIES_MAX = 100_000;
const LONG_NAME_BYTES_MAX = 64 * 1024;

/** Undefined when the file is no tar, or ends in the middle of an entry. */
export async function indexTar(disk: Disk, path: string): Promise<TarIndex | undefined> {
  await using file = await disk.open(path, "read");
  const sizeBytes = await file.sizeBytes();
  const files = new Map<string, { readonly offset: number; readonly sizeBytes: number }>();
  const links = new Map<string, string>();
  let extended: Extended = {};
  let offset = 0;
  for (let entries = 0; entries < ENTRIES_MAX && offset + BLOCK_BYTES <= sizeBytes; entries++) {
    const header = Buffer.from(await file.read(offset, BLOCK_BYTES));
    if (header.every((byte) => byte === 0)) return { files, links };
    if (!hasChecksum(header)) return undefined;
    const type = String.fromCharCode(header[156] ?? 0);
    const length = (isExtension(type) ? undefined : extended.sizeBytes) ?? numberAt(header, 124, 12);
    const start = offset + BLOCK_BYTES;
    const end = start + Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
    if (!Number.isSafeInteger(end) || start + length > sizeBytes) return undefined;
    offset = end;
    if (isExtension(type)) {
      if (length > LONG_NAME_BYTES_MAX) return undefined;
      extended = { ...extended, ...(await extensionAt(file, type, start, length)) };
      continue;
    }
    const name = plainName(extended.name ?? nameIn(header));
    const link = extended.link ?? textAt(header, 157, 100);
    extended = {};
    if (type === "0" || type === "\0" || type === "7") files.set(name, { offset: start, sizeBytes: length });
    else if (type === "1" || type === "2") links.set(name, type === "1" ? `/${plainName(link)}` : link);
  }
  return offset >= sizeBytes ? { files, links } : undefined;
}

/** The file of that name, through links inside the archive. */
export function findInTar(
  index: TarIndex,
  name: string,
): { readonly offset: number; readonly sizeBytes: number } | undefined {
  let at = plainName(name);
  for (let hops = 0; hops < LINKS_MAX; hops++) {
    const file = index.files.get(at);
    if (file !== undefined) return file;
    const link = index.links.get(at);
    if (link === undefined) return undefined;
    at = plainName(link.startsWith("/") ? link : `${at.split("/").slice(0, -1).join("/")}/${link}`);
  }
  return undefined;
}

const LINKS_MAX = 10;

interface Extended {
  readonly name?: string;
  readonly link?: string;
  readonly sizeBytes?: number;
}

/** `x` and `g` are POSIX headers, `L` and `K` GNU's long names. */
function isExtension(type: string): boolean {
  return type === "x" || type === "g" || type === "L" || type === "K";
}

async function extensionAt(file: DiskFile, type: string, offset: number, length: number): Promise<Extended> {
  const text = Buffer.from(await file.read(offset, length)).toString("utf8");
  const long = text.split("\0")[0] ?? "";
  if (type === "L") return { name: long };
  if (type === "K") return { link: long };
  if (type === "g") return {};
  const found = new Map<string, string>();
  // Each record is its own length in decimal, a space, key=value and a newline; values hold no newline here.
  for (const line of text.split("\n")) {
    const [, key, value] = /^[0-9]+ ([^=]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) found.set(key, value);
  }
  const [name, link, size] = [found.get("path"), found.get("linkpath"), found.get("size")];
  return {
    ...(name === undefined ? {} : { name }),
    ...(link === undefined ? {} : { link }),
    ...(size === undefined ? {} : { sizeBytes: Number(size) }),
  };
}

function nameIn(header: Buffer): string {
  const name = textAt(header, 0, 100);
  const prefix = textAt(header, 257, 6).startsWith("ustar") ? textAt(header, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Without empty and single-dot steps, and with parent steps taken. */
function plainName(name: string): string {
  const parts: string[] = [];
  for (const part of name.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function textAt(header: Buffer, offset: number, length: number): string {
  return header.toString("utf8", offset, offset + length).split("\0")[0] ?? "";
}

/** Octal digits, or GNU's binary form for what they cannot hold. */
function numberAt(header: Buffer, offset: number, length: number): number {
  const first = header[offset] ?? 0;
  if ((first & 0x80) !== 0) return Number(header.readBigUInt64BE(offset + length - 8));
  const digits = textAt(header, offset, length).trim();
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function hasChecksum(header: Buffer): boolean {
  let sum = 0;
  for (const [index, byte] of header.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte;
  return sum === numberAt(header, 148, 8);
}

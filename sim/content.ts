/** What a file holds, never changed in place: views and images share the pages that they have in common. */
export interface Content {
  readonly length: number;
  /** Undefined is a page of zeros, so that preallocated files cost nothing. */
  readonly pages: readonly Page[];
}

type Page = Uint8Array | undefined;

const PAGE_BYTES = 4096;
const ZEROS = Buffer.alloc(PAGE_BYTES);

export const EMPTY: Content = { length: 0, pages: [] };

/** With these bytes at that place; a gap before them reads as zeros. */
export function written(content: Content, offset: number, bytes: Uint8Array): Content {
  if (bytes.byteLength === 0) return content;
  const end = offset + bytes.byteLength;
  const pages = [...content.pages];
  for (let index = Math.floor(offset / PAGE_BYTES); index * PAGE_BYTES < end; index++) {
    const start = index * PAGE_BYTES;
    const from = Math.max(offset, start);
    const piece = bytes.subarray(from - offset, Math.min(end, start + PAGE_BYTES) - offset);
    pages[index] = pageWith(pages[index], from - start, piece);
  }
  return { length: Math.max(content.length, end), pages };
}

/** Cut off, or made longer with zeros. */
export function resized(content: Content, length: number): Content {
  const pages = content.pages.slice(0, Math.ceil(length / PAGE_BYTES));
  const last = pages.at(-1);
  const keptBytes = length - (pages.length - 1) * PAGE_BYTES;
  // Behind the end of a file its last page is zero, or growing it again would bring old bytes back.
  if (last !== undefined && keptBytes < PAGE_BYTES) {
    pages[pages.length - 1] = pageWith(last, keptBytes, ZEROS.subarray(keptBytes));
  }
  return { length, pages };
}

/** A copy of at most so many bytes, shorter at the end of the file. */
export function bytesOf(content: Content, offset = 0, length = content.length): Uint8Array {
  const end = Math.min(offset + length, content.length);
  const bytes = new Uint8Array(Math.max(0, end - offset));
  for (let at = offset; at < end;) {
    const index = Math.floor(at / PAGE_BYTES);
    const next = Math.min(end, (index + 1) * PAGE_BYTES);
    const page = content.pages[index];
    if (page !== undefined) bytes.set(page.subarray(at - index * PAGE_BYTES, next - index * PAGE_BYTES), at - offset);
    at = next;
  }
  return bytes;
}

function pageWith(page: Page, offset: number, piece: Uint8Array): Page {
  if (page === undefined && ZEROS.subarray(0, piece.byteLength).equals(piece)) return undefined;
  const changed = Buffer.alloc(PAGE_BYTES);
  if (page !== undefined && piece.byteLength < PAGE_BYTES) changed.set(page);
  changed.set(piece, offset);
  return changed.equals(ZEROS) ? undefined : changed;
}

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Disk } from "@muto/kit/disk";
import { isDigest } from "../digest.ts";
import { errorReply, sendReply } from "./answers.ts";
import type { RegistryStore } from "./store.ts";

const PIECE_BYTES = 256 * 1024;

/** Sends a blob or the part of it that a Range header asks for, as slowly as the client reads. */
export async function sendBlob(
  ports: { readonly disk: Disk; readonly store: RegistryStore },
  digest: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const headOnly = request.method === "HEAD";
  if (!isDigest(digest)) return sendReply(response, errorReply("DIGEST_INVALID", "not a sha256 digest"), headOnly);
  const blob = await ports.store.findBlob(digest);
  if (blob === undefined) return sendReply(response, errorReply("BLOB_UNKNOWN", "there is no such blob"), headOnly);

  const part = headOnly ? undefined : partOf(request.headers.range, blob.sizeBytes);
  if (part === "unsatisfiable") {
    const headers = { "content-range": `bytes */${blob.sizeBytes}` };
    return sendReply(response, { status: 416, headers }, headOnly);
  }
  const { start, end } = part ?? { start: 0, end: blob.sizeBytes };
  const headers = {
    "content-type": "application/octet-stream",
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
    etag: `"${digest}"`,
    ...(part === undefined ? {} : { "content-range": `bytes ${start}-${end - 1}/${blob.sizeBytes}` }),
  };
  if (headOnly) return sendReply(response, { status: 200, headers, lengthBytes: blob.sizeBytes }, true);
  response.writeHead(part === undefined ? 200 : 206, { ...headers, "content-length": String(end - start) });
  await using file = await ports.disk.open(blob.path, "read");
  for (let offset = start; offset < end && !response.destroyed; offset += PIECE_BYTES) {
    const piece = await file.read(offset, Math.min(PIECE_BYTES, end - offset));
    if (!response.write(piece)) await drained(response);
  }
  response.end();
}

/** The first byte and the one after the last; undefined when the whole is wanted. Several ranges at once get the whole. */
function partOf(
  range: string | undefined,
  sizeBytes: number,
): { readonly start: number; readonly end: number } | "unsatisfiable" | undefined {
  const match = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(range ?? "");
  if (match === null) return undefined;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return undefined;
  if (first === "")
    return Number(last) === 0 ? "unsatisfiable" : { start: Math.max(0, sizeBytes - Number(last)), end: sizeBytes };
  const start = Number(first);
  const end = last === "" ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  return start >= sizeBytes || end <= start ? "unsatisfiable" : { start, end };
}

/** Either the client reads on, or it is gone; both end the wait. */
async function drained(response: ServerResponse): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([
      once(response, "drain", { signal: over.signal }),
      once(response, "close", { signal: over.signal }),
    ]);
  } finally {
    over.abort();
  }
}

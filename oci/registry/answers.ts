import type { ServerResponse } from "node:http";

/** What a route answers; the body is small and whole, except for blobs, which stream by themselves. */
export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Content-Length of a HEAD answer, whose body stays away. */
  readonly lengthBytes?: number;
}

/** Error codes of the distribution specification, with the status that goes with each. */
const STATUS_OF = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 416,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 413,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const;

export type ErrorCode = keyof typeof STATUS_OF;

/** The error envelope of the distribution specification. Messages are constant: nothing a client sent is repeated. */
export function errorReply(code: ErrorCode, message: string, headers: Readonly<Record<string, string>> = {}): Reply {
  return jsonReply(STATUS_OF[code], { errors: [{ code, message }] }, headers);
}

export function jsonReply(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body: new Uint8Array(Buffer.from(JSON.stringify(value), "utf8")),
  };
}

export function sendReply(response: ServerResponse, reply: Reply, headOnly: boolean): void {
  const { status, headers, body, lengthBytes } = reply;
  const length = lengthBytes ?? body?.byteLength ?? 0;
  // A refused upload may go on for ever; the connection ends with the answer instead of reading it.
  const closing = status === 413 ? { connection: "close" } : {};
  const lengthHeader = status === 204 ? {} : { "content-length": String(length) };
  response.writeHead(status, {
    "docker-distribution-api-version": "registry/2.0",
    ...lengthHeader,
    ...closing,
    ...headers,
  });
  response.end(headOnly || body === undefined ? undefined : body);
}

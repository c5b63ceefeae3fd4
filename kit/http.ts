/** One HTTP exchange as a port: bodies stream, so that size limits and digests are checked on the way. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Rejects only when there is no answer (refused, reset, timed out, aborted); every status is an answer. Redirects are never followed. */
export type HttpClient = (request: HttpRequest) => Promise<HttpResponse>;

export function systemHttp(): HttpClient {
  return async ({ method, url, headers, body, signal }) => {
    const response = await fetch(url, {
      method,
      redirect: "manual",
      signal,
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body: new Uint8Array(body) }),
    });
    return { status: response.status, headers: new Map(response.headers), body: chunksOf(response.body) };
  };
}

export class BodyTooLarge extends Error {
  override readonly name = "BodyTooLarge";
  readonly bytesMax: number;

  constructor(bytesMax: number) {
    super(`the body is larger than ${bytesMax} bytes`);
    this.bytesMax = bytesMax;
  }
}

/** Reads a body whole; throws {@link BodyTooLarge} at byte `bytesMax + 1`, so that endless data cannot fill the memory. */
export async function readBody(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.byteLength;
    if (length > bytesMax) throw new BodyTooLarge(bytesMax);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, length));
}

async function* chunksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  for await (const chunk of body) yield chunk;
}

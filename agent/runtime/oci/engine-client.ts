import { Agent, request, type ClientRequest, type IncomingMessage } from "node:http";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";

/**
 * What an engine answered, or why there is no answer. Trouble is a value: an engine that is away, slow or of another opinion is
 * an ordinary day on a vehicle.
 */
export type Answer<T> = { readonly ok: true; readonly value: T } | EngineTrouble;

export interface EngineTrouble {
  readonly ok: false;
  /**
   * unreachable: nobody listens, or the connection broke · timeout: no answer within the limit · not-found, conflict: 404 and 409 ·
   * refused: any other error status · malformed: an answer that no engine gives · too-large: more than the limit
   */
  readonly problem: EngineProblem;
  /** What the engine said, shortened; for logs, never for decisions. */
  readonly said: string;
}

export type EngineProblem =
  | "unreachable"
  | "timeout"
  | "not-found"
  | "conflict"
  | "refused"
  | "malformed"
  | "too-large";

export const CLIENT_LIMITS = {
  /** For one ordinary request, answer included. */
  requestMs: 30_000,
  /** Without a single byte moving while an image is loaded; reading hundreds of megabytes takes its time. */
  loadIdleMs: 180_000,
  answerBytesMax: 4 * 1024 * 1024,
  headerBytesMax: 16 * 1024,
  saidLengthMax: 300,
} as const;

/** Podman 4 and Docker 20.10 both speak it. */
const API = "/v1.41";

export interface EngineRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below the version, with its query: `/containers/json?all=true`. */
  readonly path: string;
  readonly json?: unknown;
  readonly timeoutMs?: number;
  readonly bytesMax?: number;
  readonly signal?: AbortSignal;
}

export interface EngineAnswer {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** A small client of the Docker-compatible API over a Unix socket. Closing it breaks whatever is under way. */
export class EngineClient implements Disposable {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8, maxFreeSockets: 1 });
  readonly #closing = new AbortController();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get socketPath(): string {
    return this.#socketPath;
  }

  /** One request and its whole answer; an error status is trouble. */
  async ask(what: EngineRequest): Promise<Answer<EngineAnswer>> {
    const first = await this.#ask(what);
    // A kept connection may have ended together with an engine that is back by now; a question may be asked twice.
    return first === "stale" ? settled(await this.#ask(what)) : first;
  }

  async #ask(what: EngineRequest): Promise<Answer<EngineAnswer> | "stale"> {
    const limit = AbortSignal.timeout(what.timeoutMs ?? CLIENT_LIMITS.requestMs);
    const signal = this.#signals(limit, what.signal);
    const body = what.json === undefined ? undefined : Buffer.from(JSON.stringify(what.json));
    const asked = this.#open(what, signal, this.#agent, body === undefined ? {} : jsonHeaders(body));
    try {
      asked.end(body);
      const response = await answerTo(asked);
      return judged(response.statusCode ?? 0, await wholeBody(response, what.bytesMax ?? CLIENT_LIMITS.answerBytesMax));
    } catch (error) {
      const failed = trouble(error, limit);
      const isStale =
        what.method === "GET" && asked.reusedSocket && failed.problem === "unreachable" && !signal.aborted;
      return isStale ? "stale" : failed;
    }
  }

  /** Sends a stream of unknown length. When the stream fails, the request is broken off, and the error passes. */
  async pour(path: string, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Answer<EngineAnswer>> {
    const stalled = new AbortController();
    const all = this.#signals(stalled.signal, signal);
    const asked = this.#open({ method: "POST", path }, all, false, { "content-type": "application/x-tar" });
    asked.setTimeout(CLIENT_LIMITS.loadIdleMs, () => stalled.abort());
    const failure: { error?: unknown } = {};
    const response = answerTo(asked);
    // It is awaited below; until then a refusal must not count as unhandled.
    response.catch(() => {});
    try {
      await pipeline(Readable.from(noting(source, failure), { objectMode: false }), asked, { signal: all });
      const answer = await response;
      return judged(answer.statusCode ?? 0, await wholeBody(answer, CLIENT_LIMITS.answerBytesMax));
    } catch (error) {
      asked.destroy();
      if ("error" in failure) throw failure.error;
      const early = await response.catch(() => undefined);
      if (early !== undefined && (early.statusCode ?? 0) >= 400) {
        const bytes = await wholeBody(early, CLIENT_LIMITS.answerBytesMax).catch(() => new Uint8Array());
        return judged(early.statusCode ?? 0, bytes);
      }
      return trouble(error, stalled.signal);
    }
  }

  /** The body of an answer as it comes, for as long as it comes: events, followed logs. Ends silently when the connection does. */
  async follow(path: string, signal: AbortSignal): Promise<Answer<AsyncIterable<Uint8Array>>> {
    const all = this.#signals(signal);
    const opening = AbortSignal.timeout(CLIENT_LIMITS.requestMs);
    const broken = new AbortController();
    const giveUp = () => broken.abort();
    opening.addEventListener("abort", giveUp, { once: true });
    try {
      const asked = this.#open({ method: "GET", path }, AbortSignal.any([all, broken.signal]), false, {});
      asked.end();
      const response = await answerTo(asked);
      const status = response.statusCode ?? 0;
      if (status >= 400) return refusal(status, await wholeBody(response, CLIENT_LIMITS.answerBytesMax));
      return { ok: true, value: untilBroken(response) };
    } catch (error) {
      return trouble(error, opening);
    } finally {
      opening.removeEventListener("abort", giveUp);
    }
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    this.#agent.destroy();
  }

  #signals(...signals: readonly (AbortSignal | undefined)[]): AbortSignal {
    return AbortSignal.any([this.#closing.signal, ...signals.filter((signal) => signal !== undefined)]);
  }

  #open(
    { method, path }: Pick<EngineRequest, "method" | "path">,
    signal: AbortSignal,
    agent: Agent | false,
    headers: Readonly<Record<string, string | number>>,
  ): ClientRequest {
    return request({
      socketPath: this.#socketPath,
      method,
      path: `${API}${path}`,
      signal,
      agent,
      headers: { host: "localhost", "user-agent": "muto", ...headers },
      maxHeaderSize: CLIENT_LIMITS.headerBytesMax,
    });
  }
}

/** JSON of an answer; undefined when it is none. What it means is for the parsers. */
export function jsonOf(answer: EngineAnswer): unknown {
  try {
    return JSON.parse(Buffer.from(answer.bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

export function query(parameters: Readonly<Record<string, string>>): string {
  return new URLSearchParams(parameters).toString();
}

export function engineTrouble(problem: EngineProblem, said = ""): EngineTrouble {
  return { ok: false, problem, said: said.slice(0, CLIENT_LIMITS.saidLengthMax) };
}

class AnswerTooLarge extends Error {
  override readonly name = "AnswerTooLarge";
}

function jsonHeaders(body: Uint8Array): Readonly<Record<string, string | number>> {
  return { "content-type": "application/json", "content-length": body.byteLength };
}

function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.once("response", resolve);
    asked.once("error", reject);
    // After the answer has begun, its own stream says what went wrong.
    asked.on("error", () => {});
  });
}

async function wholeBody(response: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bytesOf(response)) {
    length += chunk.byteLength;
    if (length > bytesMax) throw new AnswerTooLarge();
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, length));
}

async function* bytesOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  for await (const chunk of response) if (chunk instanceof Uint8Array) yield chunk;
}

async function* untilBroken(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    yield* bytesOf(response);
  } catch {
    // The engine went away, or we did: in both cases there is no more.
  }
}

async function* noting(source: AsyncIterable<Uint8Array>, failure: { error?: unknown }): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    failure.error = error;
    throw error;
  }
}

function settled(answer: Answer<EngineAnswer> | "stale"): Answer<EngineAnswer> {
  return answer === "stale" ? engineTrouble("unreachable") : answer;
}

function judged(status: number, bytes: Uint8Array): Answer<EngineAnswer> {
  return status < 400 ? { ok: true, value: { status, bytes } } : refusal(status, bytes);
}

function refusal(status: number, bytes: Uint8Array): EngineTrouble {
  const said = Buffer.from(bytes).toString("utf8");
  if (status === 404) return engineTrouble("not-found", said);
  return engineTrouble(status === 409 ? "conflict" : "refused", said);
}

function trouble(error: unknown, limit: AbortSignal): EngineTrouble {
  if (error instanceof AnswerTooLarge) return engineTrouble("too-large");
  if (limit.aborted) return engineTrouble("timeout");
  return engineTrouble("unreachable", error instanceof Error && "code" in error ? String(error.code) : "");
}

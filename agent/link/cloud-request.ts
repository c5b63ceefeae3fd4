import type { Clock } from "@muto/kit/clock";
import { BodyTooLarge, readBody, type HttpClient, type HttpResponse } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import {
  ERRORS,
  HEADERS,
  OPERATIONS,
  parseJson,
  requestTarget,
  type ErrorCode,
  type OperationId,
  type Operations,
} from "@muto/spec";
import { tokenTimeMs } from "@muto/trust/vehicle-token";

export interface CloudOrigin {
  /** `cloud.url` of the configuration. Nothing is ever fetched from anywhere else (H26). */
  readonly url: string;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  /** A short-lived token made with the vehicle's key for that time. */
  readonly makeToken: (nowMs: number) => Promise<string>;
}

export interface CloudRequest<Id extends OperationId> {
  readonly operationId: Id;
  readonly params: Operations[Id]["params"];
  readonly query: Operations[Id]["queryInput"];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

/** A success, with whatever JSON came; or why there is none. */
export type CloudAnswer =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: ReadonlyMap<string, string>;
      /** Parsed JSON within bounds; undefined when the answer has no body. */
      readonly body: unknown;
      readonly serverDateMs: number | undefined;
    }
  | CloudFailure;

export type CloudFailure = CloudRefusal | CloudUnavailable;

/** The cloud answered no; asking the same again does not help before something changes. */
export interface CloudRefusal {
  readonly kind: "refused";
  readonly status: number;
  /** Null when the answer is not one of the contract's. */
  readonly code: ErrorCode | null;
}

/** No answer, or one that says later. Always worth trying again. */
export interface CloudUnavailable {
  readonly kind: "unavailable";
  readonly retryAfterMs: number | null;
}

const ANSWER_BYTES_MAX = 1_048_576;
const RETRY_AFTER_MS_MAX = 600_000;
/** A correction smaller than this does not explain a refusal: the cloud tolerates minutes. */
const SKEW_MS_MIN = 60_000;

/**
 * Asks the one configured origin, within a time limit that covers the body, with a fresh token. A clock that is far off makes
 * tokens that are refused; the Date of the refusal says by how much, and the request is made once more (a vehicle that was
 * away for any time comes back by itself). The correction is for tokens alone and never becomes the vehicle's time.
 */
export class CloudAsker {
  readonly #origin: CloudOrigin;
  /** The server's clock and ours, when both were last seen together. */
  #contact: { readonly serverDateMs: number; readonly wallMs: number } | undefined;

  constructor(origin: CloudOrigin) {
    this.#origin = origin;
  }

  token(): Promise<string> {
    return this.#origin.makeToken(tokenTimeMs(this.#origin.clock.wallMs(), this.#contact));
  }

  async ask<Id extends OperationId>(request: CloudRequest<Id>): Promise<CloudAnswer> {
    const skewMs = this.#skewMs();
    const answer = await this.#askOnce(request);
    const isTokenRefused = answer.kind === "refused" && answer.status === ERRORS.UNAUTHENTICATED.status;
    const isClockCorrected = Math.abs(this.#skewMs() - skewMs) >= SKEW_MS_MIN;
    return isTokenRefused && isClockCorrected ? this.#askOnce(request) : answer;
  }

  #skewMs(): number {
    return this.#contact === undefined ? 0 : this.#contact.serverDateMs - this.#contact.wallMs;
  }

  async #askOnce<Id extends OperationId>(request: CloudRequest<Id>): Promise<CloudAnswer> {
    const { url, http, clock, logger, timeoutMs } = this.#origin;
    const { operationId, params, query, body } = request;
    const operation = OPERATIONS[operationId];
    const done = new AbortController();
    const late = new AbortController();
    void clock.sleep(timeoutMs, done.signal).then(() => late.abort());
    try {
      const response = await http({
        method: operation.method,
        url: url.replace(/\/+$/, "") + requestTarget(operationId, { params, query }),
        headers: {
          ...(operation.principals.includes("anonymous") ? {} : { authorization: `Bearer ${await this.token()}` }),
          ...(operation.body !== null && body !== undefined && { "content-type": operation.body.mediaType }),
          ...request.headers,
        },
        ...(body !== undefined && { body }),
        signal: AbortSignal.any([request.signal, late.signal]),
      });
      return await this.#read(response);
    } catch (error) {
      logger.debug("cloud does not answer", {
        operationId,
        late: late.signal.aborted,
        tooLarge: error instanceof BodyTooLarge,
      });
      return { kind: "unavailable", retryAfterMs: null };
    } finally {
      done.abort();
    }
  }

  async #read({ status, headers, body }: HttpResponse): Promise<CloudAnswer> {
    const serverDateMs = dateOf(headers);
    if (serverDateMs !== undefined) this.#contact = { serverDateMs, wallMs: this.#origin.clock.wallMs() };
    const bytes = await readBody(body, ANSWER_BYTES_MAX);
    const json = bytes.byteLength === 0 ? undefined : parseJson(bytes);
    const value = json?.ok === true ? json.value : undefined;
    if ((status >= 200 && status < 300) || status === 304) {
      if (json?.ok === false) return { kind: "unavailable", retryAfterMs: null };
      return { kind: "answered", status, headers, body: value, serverDateMs };
    }
    if (status >= 500 || status === ERRORS.RATE_LIMITED.status) {
      return { kind: "unavailable", retryAfterMs: retryAfterOf(headers) };
    }
    return { kind: "refused", status, code: codeOf(value) };
  }
}

function dateOf(headers: ReadonlyMap<string, string>): number | undefined {
  const dateMs = Date.parse(headers.get("date") ?? "");
  return Number.isFinite(dateMs) ? dateMs : undefined;
}

function retryAfterOf(headers: ReadonlyMap<string, string>): number | null {
  const seconds = Number(headers.get(HEADERS.retryAfter.toLowerCase()) ?? Number.NaN);
  return seconds >= 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : null;
}

/** The enumerated code of a refusal; its text is for people and is not read. */
function codeOf(body: unknown): ErrorCode | null {
  const code = fieldOf(fieldOf(body, "error"), "code");
  return isErrorCode(code) ? code : null;
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

/** One field of a JSON object; undefined for anything else. */
export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}

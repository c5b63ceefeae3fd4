import { ERRORS } from "@muto/spec";
import type { ErrorBody, ErrorCode, ErrorDetails, Problem } from "@muto/spec";

/** A refusal on its way out, whoever decided it: a handler, the server, Fastify or the database. */
export interface AnyRefusal {
  readonly refusal: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Thrown where Fastify leaves no other way out (body parsers); everything else returns its refusal. */
export class RefusedRequest extends Error {
  override readonly name = "RefusedRequest";
  readonly answer: AnyRefusal;

  constructor(answer: AnyRefusal) {
    super(answer.message);
    this.answer = answer;
  }
}

export function errorBody(refusal: AnyRefusal, requestId: string, at: string): ErrorBody {
  const { refusal: code, message, details } = refusal;
  return { error: { code, message, details: { ...details, requestId } }, timestamp: at };
}

export function statusOf(code: ErrorCode): number {
  return ERRORS[code].status;
}

/** The contract's own words for a code, when there is nothing to add. */
export function plainRefusal(code: ErrorCode, details: ErrorDetails = {}): AnyRefusal {
  return { refusal: code, message: ERRORS[code].summary, details };
}

/** Paths and messages of a validator, cut to what an answer may carry. */
export function problemDetails(problems: readonly Problem[]): ErrorDetails {
  return {
    problems: problems.map(({ path, message }) => ({ path: path.slice(0, 500), message: message.slice(0, 500) })),
  };
}

const RETRY_AFTER_SEC = 2;

/**
 * What an exception means for the caller. Only what is known is named; anything else is our mistake, and its message
 * stays in the log.
 */
export function refusalOfError(error: unknown, bytesMax: number | undefined): AnyRefusal {
  if (error instanceof RefusedRequest) return error.answer;
  const code = codeOf(error);
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return plainRefusal("BODY_TOO_LARGE", bytesMax === undefined ? {} : { bytesMax });
  }
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") return plainRefusal("MEDIA_TYPE_UNSUPPORTED");
  if (code === "FST_ERR_CTP_INVALID_CONTENT_LENGTH") {
    return { refusal: "BODY_INVALID", message: "The body is not as long as Content-Length says.", details: {} };
  }
  if (code === "FST_ERR_BAD_URL")
    return { refusal: "PATH_INVALID", message: "The path is not a URL path.", details: {} };
  if (isPassing(error, code)) return plainRefusal("UNAVAILABLE", { retryAfterSec: RETRY_AFTER_SEC });
  return plainRefusal("INTERNAL");
}

/**
 * Trouble that goes by itself: the database restarts, is out of connections, gave up on a lock or a deadlock (classes 08,
 * 53, 57 and two codes of PostgreSQL's appendix A), or a request took too long.
 */
function isPassing(error: unknown, code: string | undefined): boolean {
  // The driver has no codes for a pool without a free connection and for a connection that died.
  if (
    error instanceof Error &&
    /^(timeout exceeded when trying to connect|Connection terminated)/.test(error.message)
  ) {
    return true;
  }
  if (code === undefined) return false;
  return (
    /^(08|53|57)[0-9A-Z]{3}$/.test(code) ||
    ["40001", "40P01", "55P03", "ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOTFOUND"].includes(code) ||
    code === "FST_ERR_HANDLER_TIMEOUT"
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

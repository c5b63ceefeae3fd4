import type { ERRORS, ErrorCode, ErrorDetails, OperationId, Operations } from "@muto/spec";
import type { Db } from "../../store/database.ts";
import type { ApiContext } from "./context.ts";
import type { Principal } from "./principal.ts";

/** One request that has passed authentication, rate limit and validation. */
export interface Call<Id extends OperationId> {
  readonly params: Operations[Id]["params"];
  readonly query: Operations[Id]["query"];
  readonly headers: Operations[Id]["headers"];
  readonly body: Operations[Id]["body"];
  readonly principal: Principal;
  readonly requestId: string;
  /** The time of this request, for everything that it writes. */
  readonly at: string;
  /** Aborts when the caller has gone away or the server stops. */
  readonly signal: AbortSignal;
  /** The caller's key for this request; undefined when it sent none or the operation takes none. */
  readonly idempotencyKey: string | undefined;
  /**
   * Keeps a successful answer for repetitions of the same Idempotency-Key, inside the transaction that did the work, so
   * that a crash in between cannot do it twice. Returns the answer. Without a key it does nothing; the server keeps
   * the answer of handlers that do not call it as soon as they have returned.
   */
  remember<Answer extends Success<Id>>(transaction: Db, answer: Answer): Promise<Answer>;
}

/** One file per operation exports one of these under the operation's name. Refusals are returned; what is thrown is a bug. */
export type Handler<Id extends OperationId> = (call: Call<Id>, context: ApiContext) => Promise<Outcome<Id>>;

export type Outcome<Id extends OperationId> = Success<Id> | Refusal<Id>;

/** The envelope (`data`, `metadata`, `timestamp`) is put around by the server; raw bodies are sent as they are. */
export type Success<Id extends OperationId> = SuccessOf<Operations[Id]["success"]>;

type SuccessOf<Declared> = Declared extends { readonly status: infer Status; readonly body: infer Body }
  ? Body extends { readonly data: infer Data; readonly metadata: infer Metadata }
    ? { readonly status: Status; readonly data: Data; readonly metadata: Metadata; readonly headers?: ReplyHeaders }
    : Body extends { readonly data: infer Data }
      ? { readonly status: Status; readonly data: Data; readonly headers?: ReplyHeaders }
      : { readonly status: Status; readonly raw: Body; readonly headers?: ReplyHeaders }
  : never;

export type ReplyHeaders = Readonly<Record<string, string>>;

/** A refusal whose code has a status that the operation declares. */
export interface Refusal<Id extends OperationId> {
  readonly refusal: CodeOf<Operations[Id]["refusal"]["status"]>;
  readonly message: string;
  readonly details: ErrorDetails;
}

type CodeOf<Status> = {
  [Code in ErrorCode]: (typeof ERRORS)[Code]["status"] extends Status ? Code : never;
}[ErrorCode];

/** `message` is for people; programs read the code and the details. */
export function refuse<Code extends ErrorCode>(
  refusal: Code,
  message: string,
  details: ErrorDetails = {},
): { readonly refusal: Code; readonly message: string; readonly details: ErrorDetails } {
  return { refusal, message, details };
}

/** Where page `page` of `limit` items begins, and what its metadata says. */
export function pageOf(query: { readonly page: number; readonly limit: number }) {
  const { page, limit } = query;
  return {
    offset: (page - 1) * limit,
    limit,
    metadata: (totalItems: number) => ({ page, limit, totalItems, totalPages: Math.ceil(totalItems / limit) }),
  };
}

import { OPERATIONS, type OperationId, type Operations, type Principal } from "./generated/operations.ts";
import type { SchemaName } from "./generated/schema-types.ts";

/** Bytes that follow no JSON schema: metrics, pages, attachments, event streams. */
export type RawBody = string | Uint8Array | AsyncIterable<Uint8Array>;

/** One row of the route table. Schemas are named; see `@muto/spec/validation`. */
export interface OperationRoute<Id extends string> {
  readonly operationId: Id;
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With parameters in braces, as OpenAPI writes them. */
  readonly path: string;
  /** With parameters after a colon, as routers want them. */
  readonly route: string;
  readonly summary: string;
  readonly principals: readonly Principal[];
  readonly idempotencyKey: boolean;
  readonly params: SchemaName | null;
  readonly query: SchemaName | null;
  readonly headers: SchemaName | null;
  readonly body: {
    readonly mediaType: string;
    /** Null for raw bytes. */
    readonly schema: SchemaName | null;
    readonly required: boolean;
    readonly bytesMax: number;
  } | null;
  readonly answers: readonly {
    readonly status: number;
    readonly mediaType: string | null;
    readonly schema: SchemaName | null;
  }[];
  readonly refusals: readonly number[];
}

/** Everything an operation may answer with. */
export type Answer<Id extends OperationId> = Operations[Id]["success"] | Operations[Id]["refusal"];

/** What `data` is in the successful answers of an operation. */
export type AnswerData<Id extends OperationId> = Operations[Id]["success"]["body"] extends infer Body
  ? Body extends { readonly data: infer Data }
    ? Data
    : never
  : never;

/**
 * Path and query of a request, encoded, beginning with a slash; what is undefined is left out. Throws a RangeError when a
 * parameter of the path is missing or empty, because that would be another operation.
 */
export function requestTarget<Id extends OperationId>(
  operationId: Id,
  parts: { readonly params: Operations[Id]["params"]; readonly query: Operations[Id]["queryInput"] },
): string {
  const params = new Map(Object.entries(parts.params).map(([name, value]) => [name, String(value)]));
  const path = OPERATIONS[operationId].path.replace(/\{([^}]+)\}/g, (_braces, name: string) => {
    const value = params.get(name) ?? "";
    if (value === "") throw new RangeError(`${operationId} needs ${name}`);
    return encodeURIComponent(value);
  });
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parts.query)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

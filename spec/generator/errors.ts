import { ContractError, isList, isObject, listAt, literal, textAt, type JsonObject } from "./json.ts";
import { lookUp, type SchemaTable } from "./schemas.ts";

export interface ErrorEntry {
  readonly code: string;
  readonly status: number;
  readonly summary: string;
  readonly next: string;
}

const FIELDS = ["code", "status", "summary", "next"];

/** Reads error-codes.yaml, strictly, and checks that the schema ErrorCode lists the same codes. */
export function readErrors(document: JsonObject, table: SchemaTable): readonly ErrorEntry[] {
  const errors = listAt(document, "errorCodes", "error-codes.yaml").map((entry, index): ErrorEntry => {
    const where = `error-codes.yaml/${index}`;
    if (!isObject(entry)) throw new ContractError(`${where}: must be a mapping`);
    for (const key of Object.keys(entry))
      if (!FIELDS.includes(key)) throw new ContractError(`${where}: unknown field ${key}`);
    const status = entry["status"];
    if (typeof status !== "number" || status < 400 || status > 599)
      throw new ContractError(`${where}: status is 400 to 599`);
    return {
      code: textAt(entry, "code", where),
      status,
      summary: textAt(entry, "summary", where),
      next: textAt(entry, "next", where),
    };
  });
  const { enum: listed } = lookUp(table, "ErrorCode");
  const codes = errors.map(({ code }) => code);
  if (!isList(listed) || literal(listed) !== literal(codes) || new Set(codes).size !== codes.length) {
    throw new ContractError("messages/error.yaml and error-codes.yaml do not list the same codes in the same order");
  }
  return errors;
}

export function errorsSource(errors: readonly ErrorEntry[]): string {
  return `import type { ErrorCode } from "./messages.ts";

export interface ApiError {
  readonly code: ErrorCode;
  /** The HTTP status that always goes with the code. */
  readonly status: number;
  readonly summary: string;
  /** What the caller can do about it. */
  readonly next: string;
}

export const ERRORS = {
${errors.map((error) => `  ${error.code}: ${literal({ ...error })},`).join("\n")}
} as const satisfies { readonly [Code in ErrorCode]: ApiError & { readonly code: Code } };
`;
}

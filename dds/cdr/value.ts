/**
 * A decoded value. 64-bit integers are bigints; arrays of bytes (`uint8`, `byte`, `char`) are a Uint8Array; nested messages are
 * records by field name.
 */
export type CdrValue = number | bigint | boolean | string | Uint8Array | readonly CdrValue[] | CdrRecord;

export interface CdrRecord {
  readonly [field: string]: CdrValue;
}

/** Why a payload was not decoded. Nothing is allocated for lengths that the payload cannot hold. */
export type CdrProblem =
  /** Shorter than its own lengths say, or than its type needs. */
  | { readonly code: "cut-short"; readonly at: string }
  /** A parameter list, XCDR2, or no known representation; `encapsulation` names it. */
  | { readonly code: "unsupported-encapsulation"; readonly encapsulation: string }
  /** A bounded string or sequence is longer than its bound. */
  | { readonly code: "over-bound"; readonly at: string }
  /** More array elements are asked for than are decoded at once. */
  | { readonly code: "too-many-elements"; readonly at: string };

/** Why a type cannot be decoded at all. */
export type DefinitionProblem =
  | { readonly code: "unknown-type"; readonly type: string }
  | { readonly code: "bad-field"; readonly type: string; readonly line: string }
  /** `wstring` has no one representation among vendors; `float128` has no number here. */
  | { readonly code: "unsupported-type"; readonly type: string }
  /** Types nested deeper than the limit, or within themselves. */
  | { readonly code: "too-deep"; readonly type: string }
  | { readonly code: "unknown-path"; readonly path: string };

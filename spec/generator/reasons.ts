import { ContractError, isList, isObject, listAt, literal, textAt, type JsonObject } from "./json.ts";
import { lookUp, type SchemaTable } from "./schemas.ts";

export interface Reason {
  readonly code: string;
  readonly standard: boolean;
  readonly summary: string;
  readonly fault: string;
  readonly emittedBy: string;
  readonly retry: string;
  readonly when: string;
  readonly operatorAction: string;
}

const FAULTS = ["release", "vehicle", "environment", "operator", "control-plane", "attacker"];
const EMITTERS = ["agent", "cloud"];
const RETRIES = ["never", "backoff", "wait", "on-change"];
const FIELDS = ["code", "standard", "summary", "fault", "emittedBy", "retry", "when", "operatorAction"];

/** Reads reason-codes.yaml, strictly, and checks that the schema ReasonCode lists the same codes. */
export function readReasons(document: JsonObject, table: SchemaTable): readonly Reason[] {
  const file = "reason-codes.yaml";
  const reasons = listAt(document, "reasonCodes", file).map((entry, index): Reason => {
    const where = `${file}/${index}`;
    if (!isObject(entry)) throw new ContractError(`${where}: must be a mapping`);
    const standard = entry["standard"];
    if (typeof standard !== "boolean") throw new ContractError(`${where}: standard is true or false`);
    for (const key of Object.keys(entry))
      if (!FIELDS.includes(key)) throw new ContractError(`${where}: unknown field ${key}`);
    const code = textAt(entry, "code", where);
    if (!/^[A-Z]+(_[A-Z]+)*$/.test(code)) throw new ContractError(`${where}: ${code} is not in UPPER_SNAKE_CASE`);
    return {
      code,
      standard,
      summary: textAt(entry, "summary", where),
      fault: oneOf(FAULTS, textAt(entry, "fault", where), where),
      emittedBy: oneOf(EMITTERS, textAt(entry, "emittedBy", where), where),
      retry: oneOf(RETRIES, textAt(entry, "retry", where), where),
      when: textAt(entry, "when", where),
      operatorAction: textAt(entry, "operatorAction", where),
    };
  });
  checkSame(
    reasons.map((reason) => reason.code),
    lookUp(table, "ReasonCode"),
  );
  return reasons;
}

/** The reason table as TypeScript. */
export function reasonsSource(reasons: readonly Reason[]): string {
  const rows = reasons.map(({ code, ...rest }) => `  ${code}: ${literal({ code, ...rest })},`);
  return `import type { ReasonCode } from "./messages.ts";

export type { ReasonCode };

/** Whose doing a reason is in the ordinary case. */
export type ReasonFault = ${FAULTS.map(literal).join(" | ")};

/** What the emitter does by itself afterwards. */
export type ReasonRetry = ${RETRIES.map(literal).join(" | ")};

export interface Reason {
  readonly code: ReasonCode;
  readonly standard: boolean;
  readonly summary: string;
  readonly fault: ReasonFault;
  readonly emittedBy: ${EMITTERS.map(literal).join(" | ")};
  readonly retry: ReasonRetry;
  readonly when: string;
  readonly operatorAction: string;
}

export const REASONS: { readonly [Code in ReasonCode]: Reason & { readonly code: Code } } = {
${rows.join("\n")}
};

export const REASON_CODES: readonly ReasonCode[] = ${literal(reasons.map((reason) => reason.code))};
`;
}

function oneOf(known: readonly string[], value: string, where: string): string {
  if (!known.includes(value)) throw new ContractError(`${where}: ${value} is none of ${known.join(", ")}`);
  return value;
}

function checkSame(codes: readonly string[], schema: JsonObject): void {
  const listed = isList(schema["enum"]) ? schema["enum"] : [];
  const missing = codes.filter((code) => !listed.includes(code));
  const surplus = listed.filter((code) => typeof code !== "string" || !codes.includes(code)).map(literal);
  if (new Set(codes).size !== codes.length) throw new ContractError("reason-codes.yaml lists a code twice");
  if (missing.length + surplus.length > 0) {
    throw new ContractError(
      `messages/reason-code.yaml and reason-codes.yaml differ: missing ${missing.join(", ") || "none"}, surplus ${surplus.join(", ") || "none"}`,
    );
  }
}

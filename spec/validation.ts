import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { OPERATIONS, type OperationId, type Operations } from "./generated/operations.ts";
import type { SchemaName, SchemaTypes } from "./generated/schema-types.ts";
import { SCHEMAS } from "./generated/schemas.ts";
import { parserOf, type Parsed, type Validator } from "./parse.ts";

/**
 * Validators of any schema of the contract, compiled when first asked for. For the control plane and the command line;
 * the agent uses the precompiled parsers of `@muto/spec`, which need no compiler.
 */
export interface Validation {
  /** A JSON document or body. The value is a copy with defaults filled in. */
  parse<Name extends SchemaName>(name: Name, value: unknown): Parsed<SchemaTypes[Name]>;
  /** Parameters of a path, query or header, which arrive as text: numbers and booleans are read from it. */
  parseText<Name extends SchemaName>(name: Name, value: unknown): Parsed<SchemaTypes[Name]>;
  /**
   * The answer of an operation, as a caller gets it; `body` is parsed JSON. A status that is no success of the operation is a
   * problem; refusals are the schema `ErrorBody`. The body of raw answers is taken as it is.
   */
  parseAnswer<Id extends OperationId>(
    operationId: Id,
    status: number,
    body: unknown,
  ): Parsed<Operations[Id]["success"]>;
  /**
   * The bare function, for frameworks that bring their own handling of errors. It fills defaults into the value it is
   * given; with `text` it also reads numbers and booleans from text, in place.
   */
  validator<Name extends SchemaName>(name: Name, kind: "json" | "text"): Validator<SchemaTypes[Name]>;
}

export function createValidation(): Validation {
  const json = createAjv(false);
  const text = createAjv(true);
  const validator = <Name extends SchemaName>(name: Name, kind: "json" | "text"): Validator<SchemaTypes[Name]> =>
    (kind === "json" ? json : text).compile<SchemaTypes[Name]>(SCHEMAS[name]);
  return {
    parse: (name, value) => parserOf(validator(name, "json"), { fillsDefaults: true })(value),
    parseText: (name, value) => parserOf(validator(name, "text"), { fillsDefaults: true })(value),
    parseAnswer: (operationId, status, body) => {
      const declared = OPERATIONS[operationId].answers.find((answer) => answer.status === status);
      if (declared === undefined) {
        return {
          ok: false,
          problems: [{ path: "", message: `is no success of ${operationId}: HTTP status ${status}` }],
        };
      }
      if (declared.schema === null)
        return successOf(operationId, { status, body: declared.mediaType === null ? undefined : body });
      const parsed = parserOf(validator(declared.schema, "json"), { fillsDefaults: true })(body);
      return parsed.ok ? successOf(operationId, { status, body: parsed.value }) : parsed;
    },
    validator,
  };
}

/** The validated pair of status and body as the type that says both; the check above is what makes it true. */
function successOf<Id extends OperationId>(
  operationId: Id,
  answer: { status: number; body: unknown },
): Parsed<Operations[Id]["success"]> {
  const declared = (value: typeof answer): value is typeof answer & Operations[Id]["success"] =>
    OPERATIONS[operationId].answers.some(({ status }) => status === value.status);
  return declared(answer) ? { ok: true, value: answer } : { ok: false, problems: [] };
}

function createAjv(coerceTypes: boolean): Ajv2020 {
  const ajv = new Ajv2020({
    schemas: Object.values(SCHEMAS),
    // The generator has checked every schema with the strictest settings; once more would cost each start a tenth of a second.
    validateSchema: false,
    strict: true,
    strictTypes: false,
    strictRequired: false,
    allErrors: true,
    useDefaults: true,
    discriminator: true,
    inlineRefs: false,
    coerceTypes,
  });
  formats.default(ajv);
  return ajv;
}

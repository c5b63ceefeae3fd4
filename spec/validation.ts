import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
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
    validator,
  };
}

function createAjv(coerceTypes: boolean): Ajv2020 {
  const ajv = new Ajv2020({
    schemas: Object.values(SCHEMAS),
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

/**
 * Parsing at the edge: bytes to JSON within bounds, JSON to a document of the contract. What is refused comes back as a
 * list of problems that name the place, never the content, so that it may be logged and shown.
 */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface Problem {
  /** JSON pointer to the part that is wrong; empty for the whole document. */
  readonly path: string;
  readonly message: string;
}

/** A validation function as Ajv makes it; `errors` belong to the last call. */
export interface Validator<T> {
  (value: unknown): value is T;
  errors?: readonly SchemaError[] | null;
}

export interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message?: string;
}

export interface JsonBounds {
  readonly bytesMax: number;
  /** Nesting of objects and lists; 1 is a flat object. */
  readonly depthMax: number;
}

/** Fits every document of the contract: the largest envelope carries some 350,000 characters of payload. */
export const DOCUMENT_BOUNDS: JsonBounds = { bytesMax: 1_048_576, depthMax: 32 };

/** More problems than a person corrects at once are not listed. */
const PROBLEMS_MAX = 20;

const DEPTH_MAX = 64;

/**
 * JSON from outside, within bounds that are checked before anything is parsed: size, UTF-8, nesting. A key `__proto__`
 * is refused, because a careless copy of it would change other objects, and so is text that no database would give back.
 */
export function parseJson(source: string | Uint8Array, bounds: JsonBounds = DOCUMENT_BOUNDS): Parsed<unknown> {
  const tooLarge = `is larger than ${bounds.bytesMax} bytes`;
  if (source.length > bounds.bytesMax) return refused("", tooLarge);
  const text = typeof source === "string" ? source : decode(source);
  if (text === undefined) return refused("", "is not UTF-8");
  if (typeof source === "string" && Buffer.byteLength(source) > bounds.bytesMax) return refused("", tooLarge);
  if (depthOf(text, bounds.depthMax) > bounds.depthMax) return refused("", `is nested deeper than ${bounds.depthMax}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused("", "is not JSON");
  }
  if (hasPrototypeKey(value)) return refused("", "has a key __proto__");
  return hasUnstorableText(value) ? refused("", "has text with U+0000 or half a surrogate pair") : { ok: true, value };
}

/**
 * A parser of one kind of document. With `fillsDefaults` the value is a copy with every default filled in; otherwise
 * it is the very value that was given. Unknown fields are kept and mean nothing, except where the schema is closed.
 */
export function parserOf<T>(
  validate: Validator<T>,
  options: { readonly fillsDefaults: boolean },
): (value: unknown) => Parsed<T> {
  return (value) => {
    const candidate = options.fillsDefaults ? copyJson(value, 0) : value;
    if (validate(candidate)) return { ok: true, value: candidate };
    return { ok: false, problems: problemsOf(validate.errors ?? []) };
  };
}

/** What a validator complained about, in the order of the document, without the noise of unions that did not match. */
export function problemsOf(errors: readonly SchemaError[]): readonly Problem[] {
  const telling = errors.filter((error) => error.keyword !== "oneOf" && error.keyword !== "anyOf");
  const candidates = telling.length > 0 ? telling : errors;
  const specific = candidates.filter(
    (error) => !isMereNull(error) || !candidates.some((other) => isMoreTelling(other, error)),
  );
  const problems = new Map(specific.map((error) => [`${placeOf(error)} ${wordsFor(error)}`, error]));
  const found = [...problems.values()]
    .slice(0, PROBLEMS_MAX)
    .map((error) => ({ path: placeOf(error), message: wordsFor(error) }));
  return found.length > 0 ? found : [{ path: "", message: "is not valid" }];
}

function isMereNull(error: SchemaError): boolean {
  return error.keyword === "type" && error.params["type"] === "null";
}

function isMoreTelling(other: SchemaError, than: SchemaError): boolean {
  return (
    !isMereNull(other) &&
    (other.instancePath === than.instancePath || other.instancePath.startsWith(`${than.instancePath}/`))
  );
}

function placeOf(error: SchemaError): string {
  const name = error.params["missingProperty"] ?? error.params["additionalProperty"];
  return typeof name === "string"
    ? `${error.instancePath}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`
    : error.instancePath;
}

function wordsFor(error: SchemaError): string {
  const { keyword, params } = error;
  if (keyword === "required") return "is missing";
  if (keyword === "additionalProperties") return "is not known here";
  if (keyword === "const") return `must be ${JSON.stringify(params["allowedValue"])}`;
  if (keyword === "discriminator") return `has an unknown or missing ${String(params["tag"])}`;
  if (keyword === "enum" && Array.isArray(params["allowedValues"])) {
    return `must be one of ${params["allowedValues"].map((value) => JSON.stringify(value)).join(", ")}`;
  }
  return error.message ?? "is not valid";
}

/** Copies plain JSON; anything else stays as it is and is refused by the validator. Cuts off below a fixed depth. */
function copyJson(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > DEPTH_MAX) return undefined;
  if (Array.isArray(value)) return value.map((item) => copyJson(item, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copyJson(item, depth + 1)]));
}

function refused(path: string, message: string): Parsed<never> {
  return { ok: false, problems: [{ path, message }] };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Deepest nesting of brackets outside strings; stops counting just above the limit. */
function depthOf(text: string, depthMax: number): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < text.length && deepest <= depthMax; index += 1) {
    const character = text[index];
    if (inString) {
      if (character === "\\") index += 1;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (character === "}" || character === "]") depth -= 1;
  }
  return deepest;
}

function hasPrototypeKey(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some(hasPrototypeKey);
}

/** Escapes can spell text that is no Unicode text or that databases refuse; it would come back as something else than was hashed. */
function hasUnstorableText(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\u0000") || !value.isWellFormed();
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(hasUnstorableText);
  return Object.entries(value).some(([key, item]) => hasUnstorableText(key) || hasUnstorableText(item));
}

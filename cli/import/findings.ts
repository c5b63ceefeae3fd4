/** Something of a definition that a release cannot say, or says otherwise than before. */
export interface Finding {
  /** Place in the definition, as a JSON pointer. */
  readonly place: string;
  readonly message: string;
}

/** Collects what was not carried over while a definition is read. */
export class Findings {
  readonly list: Finding[] = [];

  add(place: string, message: string): void {
    this.list.push({ place, message });
  }
}

/** A field as text; anything else but nothing is a finding. */
export function textIn(
  fields: Readonly<Record<string, unknown>>,
  key: string,
  place: string,
  findings: Findings,
): string | undefined {
  const value = fields[key];
  if (typeof value === "string") return value === "" ? undefined : value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value !== undefined && value !== null) findings.add(`${place}/${key}`, "is no text and was left out");
  return undefined;
}

/** A field as a list of objects; what is none is a finding. */
export function recordsIn(
  fields: Readonly<Record<string, unknown>>,
  key: string,
  place: string,
  findings: Findings,
): readonly (readonly [place: string, fields: Readonly<Record<string, unknown>>])[] {
  const value = fields[key];
  if (value === undefined || value === null || value === "") return [];
  if (!Array.isArray(value)) {
    findings.add(`${place}/${key}`, "is no list and was left out");
    return [];
  }
  return value.flatMap((entry: unknown, index) => {
    const at = `${place}/${key}/${index}`;
    if (typeof entry === "object" && entry !== null && !Array.isArray(entry)) {
      return [[at, Object.fromEntries(Object.entries(entry))] as const];
    }
    findings.add(at, "is no object and was left out");
    return [];
  });
}

/** Says what of an object nobody read. */
export function unread(
  fields: Readonly<Record<string, unknown>>,
  known: readonly string[],
  place: string,
  findings: Findings,
): void {
  for (const [key, value] of Object.entries(fields)) {
    const isEmpty = value === null || value === "" || (Array.isArray(value) && value.length === 0);
    if (!known.includes(key) && !isEmpty) findings.add(`${place}/${key}`, "is not known and was left out");
  }
}

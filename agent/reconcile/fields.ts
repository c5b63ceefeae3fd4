/** Thrown inside a parser of the journal and caught at its edge; says where, never what. */
export class Malformed extends Error {
  override readonly name = "Malformed";
}

export type Reader<T> = (value: unknown, at: string) => T;

/** Strict reading of untrusted JSON, one field at a time; unknown fields mean nothing, missing ones are malformed. */
export interface Fields {
  has(name: string): boolean;
  text(name: string, allowed?: RegExp): string;
  count(name: string): number;
  number(name: string): number;
  flag(name: string): boolean;
  oneOf<const T extends string>(name: string, allowed: readonly T[]): T;
  of<T>(name: string, read: Reader<T>): T;
  nullable<T>(name: string, read: Reader<T>): T | null;
  list<T>(name: string, read: Reader<T>, itemsMax: number): readonly T[];
}

export function fieldsOf(value: unknown, at: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Malformed(at);
  const known = new Map<string, unknown>(Object.entries(value));
  const place = (name: string) => `${at}/${name}`;
  const take = (name: string): unknown => {
    if (!known.has(name)) throw new Malformed(place(name));
    return known.get(name);
  };
  const fields: Fields = {
    has: (name) => known.has(name),
    text: (name, allowed) => readText(take(name), place(name), allowed),
    number: (name) => readNumber(take(name), place(name)),
    count: (name) => {
      const found = readNumber(take(name), place(name));
      if (!Number.isSafeInteger(found) || found < 0) throw new Malformed(place(name));
      return found;
    },
    flag: (name) => {
      const found = take(name);
      if (typeof found !== "boolean") throw new Malformed(place(name));
      return found;
    },
    oneOf: (name, allowed) => readOneOf(take(name), place(name), allowed),
    of: (name, read) => read(take(name), place(name)),
    nullable: (name, read) => {
      const found = take(name);
      return found === null ? null : read(found, place(name));
    },
    list: (name, read, itemsMax) => {
      const found = take(name);
      if (!Array.isArray(found) || found.length > itemsMax) throw new Malformed(place(name));
      return found.map((item: unknown, index) => read(item, `${place(name)}/${index}`));
    },
  };
  return fields;
}

const TEXT_LENGTH_MAX = 2048;

export function readText(value: unknown, at: string, allowed?: RegExp): string {
  if (typeof value !== "string" || value.length > TEXT_LENGTH_MAX) throw new Malformed(at);
  if (allowed !== undefined && !allowed.test(value)) throw new Malformed(at);
  return value;
}

export function readNumber(value: unknown, at: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Malformed(at);
  return value;
}

export function readOneOf<const T extends string>(value: unknown, at: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new Malformed(at);
  return found;
}

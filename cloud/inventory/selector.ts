import type { Connectivity, VehicleStatus } from "@muto/spec";

/**
 * `key=value AND key=value`; a value may be double-quoted, with `\"` and `\\` inside. The reserved keys `id`, `status` and
 * `connectivity` look at the vehicle itself, every other key at a tag. All terms must hold; a selector without terms
 * selects nothing, so that an empty field can never mean the whole fleet.
 */
export interface Selector {
  readonly terms: readonly Term[];
}

export type Term =
  | { readonly kind: "id"; readonly value: string }
  | { readonly kind: "status"; readonly value: VehicleStatus }
  | { readonly kind: "connectivity"; readonly value: Connectivity }
  | { readonly kind: "tag"; readonly key: string; readonly value: string };

export type ParsedSelector =
  | { readonly ok: true; readonly selector: Selector }
  /** `position` counts characters from 0; `expected` says what should have been there. */
  | { readonly ok: false; readonly position: number; readonly expected: string };

export const SELECTOR_CHARACTERS_MAX = 1000;
export const SELECTOR_TERMS_MAX = 16;

const STATUSES: readonly VehicleStatus[] = [
  "converged",
  "applying",
  "pending",
  "blocked",
  "failed",
  "rolled_back",
  "offline",
];
const CONNECTIVITIES: readonly Connectivity[] = ["online", "offline"];
const KEY = /[A-Za-z][A-Za-z0-9_.-]{0,62}/y;
const BARE_VALUE = /[A-Za-z0-9][A-Za-z0-9._:/+-]{0,62}/y;
const QUOTED_VALUE = /"(?:[^"\\\p{Cc}]|\\["\\]){1,126}"/uy;
const SPACE = /[ \t]*/y;
const AND = /AND(?=[ \t])/y;

export function parseSelector(text: string): ParsedSelector {
  if (text.length > SELECTOR_CHARACTERS_MAX) {
    return refuse(SELECTOR_CHARACTERS_MAX, `at most ${SELECTOR_CHARACTERS_MAX} characters`);
  }
  const reader = createReader(text);
  const terms: Term[] = [];
  reader.take(SPACE);
  while (!reader.atEnd()) {
    if (terms.length > 0) {
      if (reader.take(AND) === undefined) return refuse(reader.position(), "AND or the end");
      reader.take(SPACE);
    }
    if (terms.length === SELECTOR_TERMS_MAX) return refuse(reader.position(), `at most ${SELECTOR_TERMS_MAX} terms`);
    const term = readTerm(reader);
    if ("expected" in term) return term;
    terms.push(term);
    const end = reader.position();
    if (reader.take(SPACE) === "" && !reader.atEnd()) return refuse(end, "a space, AND, or the end");
  }
  return { ok: true, selector: { terms } };
}

type Refused = Extract<ParsedSelector, { readonly ok: false }>;

function readTerm(reader: Reader): Term | Refused {
  const key = reader.take(KEY);
  if (key === undefined) return refuse(reader.position(), "a key");
  reader.take(SPACE);
  if (!reader.takeText("=")) return refuse(reader.position(), "=");
  reader.take(SPACE);
  const at = reader.position();
  const value = readValue(reader);
  if (value === undefined) return refuse(at, "a value, in double quotes if it has spaces");
  switch (key) {
    case "id":
      return /^[a-z0-9][a-z0-9-]{1,62}$/.test(value) ? { kind: "id", value } : refuse(at, "a vehicle id");
    case "status": {
      const status = STATUSES.find((each) => each === value);
      return status === undefined ? refuse(at, `one of ${STATUSES.join(", ")}`) : { kind: "status", value: status };
    }
    case "connectivity": {
      const connectivity = CONNECTIVITIES.find((each) => each === value);
      return connectivity === undefined
        ? refuse(at, `one of ${CONNECTIVITIES.join(", ")}`)
        : { kind: "connectivity", value: connectivity };
    }
    default:
      return { kind: "tag", key, value };
  }
}

function readValue(reader: Reader): string | undefined {
  const quoted = reader.take(QUOTED_VALUE);
  if (quoted !== undefined) return quoted.slice(1, -1).replaceAll(/\\(["\\])/g, "$1");
  return reader.take(BARE_VALUE);
}

interface Reader {
  position(): number;
  atEnd(): boolean;
  /** What the sticky pattern matches here, and moves on; undefined when it does not match. */
  take(pattern: RegExp): string | undefined;
  takeText(text: string): boolean;
}

function createReader(text: string): Reader {
  let at = 0;
  return {
    position: () => at,
    atEnd: () => at === text.length,
    take: (pattern) => {
      const sticky = new RegExp(pattern);
      sticky.lastIndex = at;
      const found = sticky.exec(text)?.[0];
      if (found !== undefined) at += found.length;
      return found;
    },
    takeText: (expected) => {
      const found = text.startsWith(expected, at);
      if (found) at += expected.length;
      return found;
    },
  };
}

function refuse(position: number, expected: string): Refused {
  return { ok: false, position, expected };
}

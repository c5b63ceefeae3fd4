import type { Shape } from "./definition.ts";
import type { CdrRecord, CdrValue } from "./value.ts";

/** One step into a value: a field, one element, or every element. */
export type PathStep =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "element"; readonly index: number }
  | { readonly kind: "every" };

export type Path = readonly PathStep[];

/** Which parts of a value are wanted; the rest is skipped over. */
export type Selection = "all" | ReadonlyMap<string, Selection>;

const PATH = /^[a-zA-Z]\w*(?:\.[a-zA-Z]\w*|\[(?:\*|\d{1,6})\])*$/;

/** `twist.twist.linear.x`, `status[*].level`, `ranges[0]`; undefined when it is no path. */
export function parsePath(text: string): Path | undefined {
  if (!PATH.test(text)) return undefined;
  return [...text.matchAll(/\[(\*|\d+)\]|[a-zA-Z]\w*/g)].map(([found, index]) => {
    if (index === undefined) return { kind: "field", name: found };
    return index === "*" ? { kind: "every" } : { kind: "element", index: Number(index) };
  });
}

/** Whether a value of that shape can have such a part. */
export function leadsSomewhere(path: Path, shape: Shape): boolean {
  const [step, ...rest] = path;
  if (step === undefined) return true;
  if (step.kind === "field") {
    const field = shape.kind === "record" ? shape.fields.find(({ name }) => name === step.name) : undefined;
    return field !== undefined && leadsSomewhere(rest, field.shape);
  }
  if (shape.kind === "array" && step.kind === "element" && step.index >= shape.length) return false;
  return (shape.kind === "array" || shape.kind === "sequence") && leadsSomewhere(rest, shape.element);
}

/** The union of what the paths need. Elements of arrays share one selection, whichever index was asked. */
export function selectionOf(paths: readonly Path[]): Selection {
  const selection = new Map<string, Selection>();
  const fields = paths.map((path) => path.filter((step) => step.kind === "field"));
  if (fields.some((steps) => steps.length === 0)) return "all";
  for (const name of new Set(fields.flatMap(([first]) => (first === undefined ? [] : [first.name])))) {
    const below = fields.filter(([first]) => first?.name === name).map((steps) => steps.slice(1));
    selection.set(name, selectionOf(below));
  }
  return selection;
}

/** The part of a value that a path leads to; an array where the path says every element; undefined where nothing is. */
export function partAt(value: CdrValue, path: Path): CdrValue | undefined {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  switch (step.kind) {
    case "field": {
      const part = isRecord(value) && Object.hasOwn(value, step.name) ? value[step.name] : undefined;
      return part === undefined ? undefined : partAt(part, rest);
    }
    case "element": {
      const part = isList(value) ? value[step.index] : undefined;
      return part === undefined ? undefined : partAt(part, rest);
    }
    case "every":
      if (!isList(value)) return undefined;
      return Array.from(value, (element) => partAt(element, rest)).filter((part) => part !== undefined);
  }
}

function isList(value: CdrValue): value is readonly CdrValue[] | Uint8Array {
  return Array.isArray(value) || value instanceof Uint8Array;
}

function isRecord(value: CdrValue): value is CdrRecord {
  return typeof value === "object" && !isList(value);
}

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import * as parsers from "./generated/parsers.ts";
import { SCHEMAS } from "./generated/schemas.ts";
import type { SchemaName } from "./generated/schema-types.ts";
import { parseJson, type Parsed } from "./parse.ts";
import { createValidation } from "./validation.ts";

interface VectorCase {
  readonly name: string;
  readonly document: unknown;
  readonly problems: readonly string[];
}

const folder = join(import.meta.dirname, "vectors");
const validation = createValidation();
const precompiled: ReadonlyMap<string, (value: unknown) => Parsed<unknown>> = new Map(Object.entries(parsers));

suite("valid vectors", () => {
  for (const { schema, cases } of vectors("valid")) {
    for (const { name, document } of cases) {
      test(`${schema}: ${name}`, () => {
        for (const parse of parsersOf(schema)) {
          const parsed = parse(structuredClone(document));
          assert.deepEqual(parsed.ok ? [] : parsed.problems, []);
        }
      });
    }
  }
});

suite("invalid vectors", () => {
  for (const { schema, cases } of vectors("invalid")) {
    for (const { name, document, problems } of cases) {
      test(`${schema}: ${name}`, () => {
        for (const parse of parsersOf(schema)) {
          const parsed = parse(structuredClone(document));
          assert.ok(!parsed.ok, "it was accepted");
          assert.deepEqual(new Set(parsed.problems.map(({ path }) => path)), new Set(problems));
          assert.ok(parsed.problems.every(({ message }) => message.length > 0));
        }
      });
    }
  }
});

suite("texts that are refused before they are looked into", () => {
  for (const { name, text, message } of texts()) {
    test(name, () => {
      for (const source of [text, new TextEncoder().encode(text)]) {
        assert.deepEqual(parseJson(source), { ok: false, problems: [{ path: "", message }] });
      }
    });
  }
});

test("every whole document has valid and invalid vectors", () => {
  const documents = [...precompiled.keys()].map((name) => name.replace(/^parse/, ""));
  assert.ok(documents.length >= 18, "there are documents");
  for (const kind of ["valid", "invalid"] as const) {
    const covered = new Set<string>(
      vectors(kind)
        .filter(({ cases }) => cases.length > 0)
        .map(({ schema }) => schema),
    );
    assert.deepEqual(
      documents.filter((name) => !covered.has(name)),
      [],
    );
  }
});

/** The precompiled parser of the vehicle, where there is one, and the one compiled on demand: they have to agree. */
function parsersOf(schema: SchemaName): readonly ((value: unknown) => Parsed<unknown>)[] {
  const fixed = precompiled.get(`parse${schema}`);
  const onDemand = (value: unknown): Parsed<unknown> => validation.parse(schema, value);
  return fixed === undefined ? [onDemand] : [fixed, onDemand];
}

function vectors(
  kind: "valid" | "invalid",
): readonly { readonly schema: SchemaName; readonly cases: readonly VectorCase[] }[] {
  const names = readdirSync(join(folder, kind)).toSorted();
  assert.ok(names.length > 0, `there are ${kind} vectors`);
  return names.map((name) => {
    const file = record(JSON.parse(readFileSync(join(folder, kind, name), "utf8")));
    const schema = file["schema"];
    assert.ok(isSchemaName(schema), `${name} names a schema of the contract`);
    return {
      schema,
      cases: list(file["cases"]).map((item) => {
        const entry = record(item);
        const problems = list(entry["problems"] ?? []).map(String);
        assert.equal(problems.length > 0, kind === "invalid", `${name} says what is wrong, or nothing is`);
        return { name: String(entry["name"]), document: entry["document"], problems };
      }),
    };
  });
}

function texts(): readonly { readonly name: string; readonly text: string; readonly message: string }[] {
  const file = record(JSON.parse(readFileSync(join(folder, "text.json"), "utf8")));
  const cases = list(file["cases"]).map((item) => record(item));
  assert.ok(cases.length > 0);
  return cases.map((entry) => ({
    name: String(entry["name"]),
    text: String(entry["text"]),
    message: String(entry["message"]),
  }));
}

function isSchemaName(value: unknown): value is SchemaName {
  return typeof value === "string" && Object.hasOwn(SCHEMAS, value);
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  assert.ok(typeof value === "object" && value !== null && !Array.isArray(value));
  return Object.fromEntries(Object.entries(value));
}

function list(value: unknown): readonly unknown[] {
  assert.ok(Array.isArray(value));
  return value;
}

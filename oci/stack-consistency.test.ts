import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseStackManifest } from "@muto/spec";
import { isRecord } from "./descriptor.ts";
import { stackProblems } from "./stack-consistency.ts";

const file = join(import.meta.dirname, "..", "spec", "vectors", "stack-consistency.json");

for (const { name, document, problems } of cases()) {
  test(`consistency: ${name}`, () => {
    const parsed = parseStackManifest(document);
    assert.ok(parsed.ok, "the schema refuses it already");
    const found = stackProblems(parsed.value);
    assert.deepEqual(new Set(found.map(({ path }) => path)), new Set(problems));
    assert.ok(found.every(({ message }) => message.length > 0));
  });
}

test("there are situations that are consistent, and many that are not", () => {
  const all = cases();
  assert.ok(all.filter(({ problems }) => problems.length === 0).length >= 5);
  assert.ok(all.filter(({ problems }) => problems.length > 0).length >= 20);
});

function cases() {
  const value: unknown = JSON.parse(readFileSync(file, "utf8"));
  assert.ok(isRecord(value) && Array.isArray(value["cases"]));
  return value["cases"].map((one: unknown) => {
    assert.ok(isRecord(one) && typeof one["name"] === "string" && Array.isArray(one["problems"]));
    return { name: one["name"], document: one["document"], problems: one["problems"].map(String) };
  });
}

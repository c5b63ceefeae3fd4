import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { incompleteLockEntries } from "./lock-check.ts";

function problemsOf(packages: object): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "muto-lock-"));
  const file = join(folder, "package-lock.json");
  writeFileSync(file, JSON.stringify({ packages }));
  const problems = incompleteLockEntries(file);
  rmSync(folder, { recursive: true });
  return problems;
}

test("a complete lock file has no problem", () => {
  const packages = { "node_modules/a": { optionalDependencies: { b: "1" } }, "node_modules/b": {} };
  assert.deepEqual(problemsOf(packages), []);
});

test("each planted fault is found", () => {
  assert.match(problemsOf({ "node_modules/a": { optionalDependencies: { b: "1" } } }).join(), /b is missing/);
  assert.match(problemsOf({ "node_modules/a": { resolved: "https://registry/a.tgz" } }).join(), /download address/);
  assert.match(problemsOf({ "node_modules/a": { hasInstallScript: true } }).join(), /install script/);
  assert.match(problemsOf({}).join(), /no package/);
});

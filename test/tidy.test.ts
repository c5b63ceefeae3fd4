import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { problemsIn, rules } from "./tidy/rules.ts";

const root = join(import.meta.dirname, "..");
const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).trim().split("\n");
const texts = tracked.filter((path) => /\.(ts|mjs|md|yaml|json|toml|conf|sql|service)$/.test(path));

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

test("the house rules hold everywhere", () => {
  const problems = texts.flatMap((path) => problemsIn({ path, text: read(path) }));
  assert.deepEqual(problems, []);
});

test("every rule looked at something", () => {
  for (const rule of rules)
    assert.ok(
      texts.some((path) => rule.applies(path)),
      rule.name,
    );
  assert.ok(texts.length > 100, `only ${texts.length} files were read`);
});

test("the kit stays tiny", () => {
  const files = tracked.filter((path) => /^kit\/[^/]+\.ts$/.test(path) && !path.endsWith(".test.ts"));
  assert.ok(files.length > 0 && files.length <= 10, files.join(" "));
});

test("each planted violation is found", () => {
  const planted: readonly (readonly [path: string, text: string, rule: RegExp])[] = [
    ["agent/utils.ts", "", /attic/],
    ["agent/BadName.ts", "", /kebab/],
    ["cloud/api/a.ts", "const at = new Date();", /time and randomness/],
    ["agent/cache/a.ts", "const at = Date.now();", /time and randomness/],
    ["agent/reconcile/a.ts", 'import { x } from "../cache/b.ts";', /pure folders/],
    ["agent/safety/a.ts", 'import { x } from "@muto/kit/disk";', /pure folders/],
    ["agent/safety/a.ts", 'import {\n  x,\n} from "../ports.ts";', /pure folders/],
    ["agent/safety/a.ts", 'import "./b.ts";\nimport "pg";', /pure folders/],
    ["cloud/rollout/a.ts", 'const x = await import("pg");', /pure folders/],
    ["cloud/a.ts", "let counter = 0;", /module state/],
    ["cloud/a.ts", "// TODO later", /left for later/],
    ["cloud/a.test.ts", 'test.skip("x", () => {});', /skipped/],
    ["agent/link/a.ts", "const topic = `muto/${tenant}/vehicles/${id}/presence`;", /topics/],
    ["docs/a.md", "# One\n\n# Two\n", /one title/],
    ["docs/decisions/0001-a.md", "# A\n\n## Context\n", /decisions say/],
    ["README.md", "# Muto\n\nsee /home/ada/muto\n", /somebody's machine/],
  ];
  for (const [path, text, rule] of planted) assert.match(problemsIn({ path, text }).join("\n"), rule, path);
});

test("what is allowed is not refused", () => {
  const allowed: readonly (readonly [path: string, text: string])[] = [
    ["agent/reconcile/a.ts", 'import type { X } from "@muto/spec";\nimport { y } from "../safety/b.ts";'],
    ["agent/reconcile/a.ts", 'import type { Instance } from "../ports.ts";'],
    ["kit/clock.ts", "const at = Date.now();"],
    ["cloud/a.ts", "const at = new Date(ms);\nfunction f() {\n  let x = 1;\n}"],
  ];
  for (const [path, text] of allowed) assert.deepEqual(problemsIn({ path, text }), [], path);
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");

/** Lints one planted file with the project's own configuration, in a tree of its own. */
function lint(path: string, text: string): { readonly code: number | null; readonly output: string } {
  const folder = mkdtempSync(join(tmpdir(), "muto-lint-"));
  copyFileSync(join(root, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
  writeFileSync(join(folder, ".gitignore"), "node_modules\n");
  copyFileSync(join(root, "tsconfig.json"), join(folder, "tsconfig.json"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const config = join(folder, ".oxlintrc.json");
  const result = spawnSync(join(root, "node_modules", ".bin", "oxlint"), ["-c", config, "--type-aware", path], {
    cwd: folder,
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true });
  return { code: result.status, output: `${result.stdout}${result.stderr}` };
}

const planted: readonly (readonly [what: string, path: string, text: string, rule: RegExp])[] = [
  [
    "file access in the planner",
    "agent/reconcile/plan.ts",
    'import { readFileSync } from "node:fs";\nexport const x = readFileSync;\n',
    /Pure/,
  ],
  [
    "a timer in a gate",
    "agent/safety/gates.ts",
    "export const x = () => setTimeout(() => {}, 1);\n",
    /no-restricted-globals/,
  ],
  [
    "the clock in a verdict",
    "cloud/rollout/gate.ts",
    "export const x = () => Date.now();\n",
    /no-restricted-properties/,
  ],
  [
    "chance in the planner",
    "agent/reconcile/plan.ts",
    "export const x = () => Math.random();\n",
    /no-restricted-properties/,
  ],
  [
    "fetch in a verdict",
    "cloud/rollout/gate.ts",
    'export const x = () => fetch("http://a");\n',
    /no-restricted-globals/,
  ],
  [
    "the agent reaching into the cloud",
    "agent/loop.ts",
    'import { x } from "@muto/cloud/main";\nexport const y = x;\n',
    /meet only in spec/,
  ],
  [
    "a process started outside the native adapters",
    "agent/runtime/oci/a.ts",
    'import { spawn } from "node:child_process";\nexport const y = spawn;\n',
    /Only the native adapters/,
  ],
  [
    "the cloud reaching into the agent",
    "cloud/main.ts",
    'import { x } from "@muto/agent/main";\nexport const y = x;\n',
    /meet only in spec/,
  ],
  [
    "the same by a path",
    "cloud/api/a.ts",
    'import { x } from "../../agent/main.ts";\nexport const y = x;\n',
    /meet only in spec/,
  ],
  [
    "the same from a pure folder",
    "cloud/rollout/a.ts",
    'import { x } from "@muto/agent/main";\nexport const y = x;\n',
    /meet only in spec/,
  ],
  [
    "shared ground knowing the agent",
    "kit/a.ts",
    'import { x } from "@muto/agent/main";\nexport const y = x;\n',
    /Shared ground/,
  ],
];

for (const [what, path, text, rule] of planted) {
  test(`the linter refuses ${what}`, () => {
    const { code, output } = lint(path, text);
    assert.notEqual(code, 0, output);
    assert.match(output, rule);
  });
}

test("the linter accepts a pure function in a pure folder", () => {
  const { code, output } = lint("agent/reconcile/plan.ts", "export const double = (x: number) => x * 2;\n");
  assert.equal(code, 0, output);
});

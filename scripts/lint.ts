import { join } from "node:path";
import { root, run, seconds, tool } from "./process.ts";
import { checkConfigurationPage } from "./configuration-page.ts";
import { incompleteLockEntries } from "./lock-check.ts";

/** Every static check, each by itself; all run even when one fails. `--fix` formats and mends what can be mended. */
const fix = process.argv.includes("--fix");
const node = process.execPath;

const checks: readonly (readonly [name: string, check: () => Promise<number>, next: string])[] = [
  [
    "generated contract",
    () => run(node, [join(root, "spec", "generate.ts"), fix ? "--write" : "--check"]),
    "npm run spec",
  ],
  ["settings page", async () => checkConfigurationPage(fix), "npm run fmt"],
  ["types", () => run(tool("tsc"), ["-p", "."]), "fix the types"],
  [
    "lint",
    () => run(tool("oxlint"), ["--type-aware", "--deny-warnings", ...(fix ? ["--fix"] : [])]),
    "fix, or npm run fmt",
  ],
  ["format", () => run(tool("oxfmt"), fix ? ["."] : ["--check", "."]), "npm run fmt"],
  ["unused code", () => run(tool("knip"), ["--no-progress"]), "delete what is unused"],
  ["lock file", async () => reportLock(), "pin a version whose platform packages all exist"],
];

let failures = 0;
for (const [name, check, next] of checks) {
  const started = performance.now();
  const code = await check();
  console.log(`${code === 0 ? "ok    " : "FAILED"} ${name} (${seconds(started)})${code === 0 ? "" : ` → ${next}`}`);
  if (code !== 0) failures++;
}
process.exitCode = failures === 0 ? 0 : 1;

function reportLock(): number {
  const problems = incompleteLockEntries(join(root, "package-lock.json"));
  for (const problem of problems) console.error(problem);
  return problems.length === 0 ? 0 : 1;
}

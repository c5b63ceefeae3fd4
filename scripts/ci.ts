import { join } from "node:path";
import { root, runTold, seconds, type Told } from "./process.ts";

/** What continuous integration runs, and nothing else: static checks, every suite, and the demonstration. */
const node = process.execPath;
const script = (name: string, ...args: string[]) =>
  runTold(node, ["--disable-warning=ExperimentalWarning", join(root, name), ...args]);

const steps: readonly (readonly [name: string, step: () => Promise<Told>])[] = [
  ["static checks", () => script("scripts/lint.ts")],
  ["tests", () => script("scripts/test.ts", "unit", "system")],
  ["tests that kill", () => script("scripts/test.ts", "kills")],
  ["tests with services", () => script("scripts/test.ts", "services")],
  ["demonstration", () => script("demo/main.ts")],
];

let passed = 0;
let failed = 0;
const summary: string[] = [];
const told: string[] = [];
for (const [name, step] of steps) {
  console.log(`\n══ ${name}`);
  const started = performance.now();
  const { code, lastLines } = await step();
  if (code === 0) passed++;
  else {
    failed++;
    told.push(`\n══ ${name} failed; the end of its output again:`, ...lastLines);
  }
  summary.push(`${code === 0 ? "ok    " : "FAILED"} ${name} (${seconds(started)})`);
}
if (told.length > 0) console.log(told.join("\n"));
console.log(`\n${summary.join("\n")}`);
console.log(`steps: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

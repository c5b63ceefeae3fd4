import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run, seconds } from "./process.ts";

/**
 * Runs the named suites one after the other and prints their counts in the end. Unit tests share two processes, one for each
 * core; system and services tests get a process per file, and tests that kill again and again stand apart because they take
 * minutes. A suite that ran no test fails: a check that looked at nothing is no check.
 */
const suites = {
  unit: {
    patterns: ["{spec,kit,trust,oci,dds,agent,cloud,cli,sim,demo,scripts,bench}/**/*.test.ts", "test/*.test.ts"],
    isolated: false,
  },
  system: { patterns: ["test/system/**/*.test.ts"], isolated: true },
  kills: { patterns: ["test/system/**/*-{kill,crash,crash-points}.test.ts"], isolated: true },
  services: { patterns: ["test/services/**/*.test.ts"], isolated: true },
} as const;

const timeoutMs = 600_000;

const [...wanted] = process.argv.slice(2);
let failed = 0;
let total = { passed: 0, failed: 0, skipped: 0 };
for (const name of wanted) {
  const counts = await runSuite(suiteNamed(name));
  total = {
    passed: total.passed + counts.passed,
    failed: total.failed + counts.failed,
    skipped: total.skipped + counts.skipped,
  };
  if (counts.code !== 0 || counts.passed === 0 || counts.skipped > 0) failed++;
  if (counts.passed === 0) console.error(`suite ${name}: no test ran`);
  if (counts.skipped > 0) console.error(`suite ${name}: skipped tests are not accepted`);
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = failed === 0 ? 0 : 1;

function suiteNamed(name: string): keyof typeof suites {
  switch (name) {
    case "unit":
    case "system":
    case "kills":
    case "services":
      return name;
    default:
      throw new Error(`unknown suite ${name}; known: ${Object.keys(suites).join(", ")}`);
  }
}

async function runSuite(
  name: keyof typeof suites,
): Promise<{ code: number; passed: number; failed: number; skipped: number }> {
  const started = performance.now();
  const { patterns, isolated } = suites[name];
  const apart = name === "system" ? suites.kills.patterns : [];
  const files = globSync([...patterns], { cwd: root, exclude: ["**/node_modules/**", ...apart] }).toSorted();
  console.log(`suite ${name}: ${files.length} files`);
  if (files.length === 0) return { code: 1, passed: 0, failed: 0, skipped: 0 };
  const folder = mkdtempSync(join(tmpdir(), "muto-test-"));
  const countsFile = join(folder, "counts");
  const isolation = isolated ? ["--test-concurrency=2"] : ["--test-isolation=none"];
  const args = [
    "--disable-warning=ExperimentalWarning",
    "--test",
    ...isolation,
    `--test-timeout=${timeoutMs}`,
    `--test-reporter=${join(root, "scripts", "reporter.ts")}`,
    "--test-reporter-destination=stdout",
  ];
  // Tests that share a process use one core; two processes use both.
  const shares = isolated ? [files] : [0, 1].map((share) => files.filter((_, index) => index % 2 === share));
  const codes = await Promise.all(
    shares.map((share) => run(process.execPath, [...args, ...share], { MUTO_TEST_COUNTS: countsFile })),
  );
  const code = codes.find((one) => one !== 0) ?? 0;
  const counts = readCounts(countsFile);
  rmSync(folder, { recursive: true });
  console.log(`suite ${name}: ${seconds(started)}`);
  return { code, ...counts };
}

function readCounts(file: string): { passed: number; failed: number; skipped: number } {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  const each = lines.map((line) => line.match(/\d+/g)?.map(Number) ?? []);
  const sum = (at: number) => each.reduce((total, numbers) => total + (numbers[at] ?? 0), 0);
  return { passed: sum(0), failed: sum(1), skipped: sum(2) };
}

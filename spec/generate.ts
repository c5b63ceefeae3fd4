import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generateContract } from "./generator/contract.ts";
import { ContractError } from "./generator/json.ts";
import { readSources } from "./generator/sources.ts";

/**
 * `npm run spec` writes what follows from the contract's sources into spec/generated; `npm run spec -- --check` writes
 * nothing and exits 1 naming the files that are stale.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const root = join(import.meta.dirname, "..");
  const files = generateContract(await readSources(root));
  const stale = await findStale(root, files);
  if (values.check) {
    for (const path of stale) console.error(`stale: ${path}`);
    if (stale.length > 0) console.error("Run `npm run spec` and commit what it writes.");
    return stale.length === 0 ? 0 : 1;
  }
  await writeFiles(root, files, stale);
  console.log(stale.length === 0 ? "what the contract generates is up to date" : `written: ${stale.join(", ")}`);
  return 0;
}

/** Paths of files that are missing, differ, or lie in spec/generated without being generated any more. */
async function findStale(root: string, files: ReadonlyMap<string, string>): Promise<readonly string[]> {
  await mkdir(join(root, "spec", "generated"), { recursive: true });
  const present = (await readdir(join(root, "spec", "generated"))).map((name) => `spec/generated/${name}`);
  const differing: string[] = [];
  for (const [path, content] of files) {
    const current = await readFile(join(root, path), "utf8").catch(() => undefined);
    if (current !== content) differing.push(path);
  }
  return [...differing, ...present.filter((path) => !files.has(path))];
}

async function writeFiles(root: string, files: ReadonlyMap<string, string>, stale: readonly string[]): Promise<void> {
  for (const path of stale) {
    const content = files.get(path);
    if (content === undefined) await rm(join(root, path));
    else await writeFile(join(root, path), content);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof ContractError)) throw error;
  console.error(`The contract does not hold together: ${error.message}`);
  process.exitCode = 1;
}

import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { generateContract, type Sources } from "./generator/contract.ts";
import { findReasonTests } from "./generator/reason-tests.ts";
import { ContractError, isObject, toJson, type JsonObject } from "./generator/json.ts";

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

async function readSources(root: string): Promise<Sources> {
  const folder = join(root, "spec");
  const messages = (await readdir(join(folder, "messages"))).filter((name) => name.endsWith(".yaml")).toSorted();
  const files = [...messages.map((name) => `messages/${name}`), "api.yaml"];
  const documents = await Promise.all(files.map(async (file) => [file, await readYaml(join(folder, file))] as const));
  return {
    documents: new Map(documents),
    errors: await readYaml(join(folder, "error-codes.yaml")),
    reasons: await readYaml(join(folder, "reason-codes.yaml")),
    mediaTypes: await readYaml(join(folder, "media-types.yaml")),
    topics: await readFile(join(folder, "mqtt-topics.md"), "utf8"),
    reasonTests: await findReasonTests(root),
  };
}

async function readYaml(path: string): Promise<JsonObject> {
  const text = await readFile(path, "utf8");
  const parsed: unknown = parse(text, { uniqueKeys: true, strict: true });
  const document = toJson(parsed, path);
  if (!isObject(document)) throw new ContractError(`${path}: must be a mapping`);
  return document;
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

import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { generateContract, type Sources } from "./generator/contract.ts";
import { ContractError, isObject, toJson, type JsonObject } from "./generator/json.ts";

/**
 * `npm run spec` writes what follows from the contract's sources into spec/generated; `npm run spec -- --check` writes
 * nothing and exits 1 naming the files that are stale.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });
  const folder = import.meta.dirname;
  const files = generateContract(await readSources(folder));
  const stale = await findStale(join(folder, "generated"), files);
  if (values.check) {
    for (const name of stale) console.error(`stale: spec/generated/${name}`);
    if (stale.length > 0) console.error("Run `npm run spec` and commit what it writes.");
    return stale.length === 0 ? 0 : 1;
  }
  await writeFiles(join(folder, "generated"), files, stale);
  console.log(stale.length === 0 ? "spec/generated is up to date" : `written: ${stale.join(", ")}`);
  return 0;
}

async function readSources(folder: string): Promise<Sources> {
  const messages = (await readdir(join(folder, "messages"))).filter((name) => name.endsWith(".yaml")).toSorted();
  const documents = await Promise.all(
    messages.map(async (name) => [`messages/${name}`, await readYaml(join(folder, "messages", name))] as const),
  );
  return {
    documents: new Map([...documents, ["api.yaml", await readYaml(join(folder, "api.yaml"))]]),
    errors: await readYaml(join(folder, "error-codes.yaml")),
    reasons: await readYaml(join(folder, "reason-codes.yaml")),
    mediaTypes: await readYaml(join(folder, "media-types.yaml")),
    topics: await readFile(join(folder, "mqtt-topics.md"), "utf8"),
  };
}

async function readYaml(path: string): Promise<JsonObject> {
  const text = await readFile(path, "utf8");
  const parsed: unknown = parse(text, { uniqueKeys: true, strict: true });
  const document = toJson(parsed, path);
  if (!isObject(document)) throw new ContractError(`${path}: must be a mapping`);
  return document;
}

/** Names of files that are missing, differ, or are no longer generated. */
async function findStale(folder: string, files: ReadonlyMap<string, string>): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const present = await readdir(folder);
  const surplus = present.filter((name) => !files.has(name));
  const differing: string[] = [];
  for (const [name, content] of files) {
    const current = present.includes(name) ? await readFile(join(folder, name), "utf8") : undefined;
    if (current !== content) differing.push(name);
  }
  return [...differing, ...surplus];
}

async function writeFiles(folder: string, files: ReadonlyMap<string, string>, stale: readonly string[]): Promise<void> {
  for (const name of stale) {
    const content = files.get(name);
    if (content === undefined) await rm(join(folder, name));
    else await writeFile(join(folder, name), content);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof ContractError)) throw error;
  console.error(`The contract does not hold together: ${error.message}`);
  process.exitCode = 1;
}

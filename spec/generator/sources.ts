import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { ContractError, isObject, toJson, type JsonObject } from "./json.ts";
import { findReasonTests, type ReasonTest } from "./reason-tests.ts";

/** The contract's sources, parsed. */
export interface Sources {
  /** `messages/*.yaml` and `api.yaml` by file name relative to spec/. */
  readonly documents: ReadonlyMap<string, JsonObject>;
  readonly reasons: JsonObject;
  readonly errors: JsonObject;
  readonly mediaTypes: JsonObject;
  /** Text of mqtt-topics.md. */
  readonly topics: string;
  /** System tests that produce a reason code. */
  readonly reasonTests: readonly ReasonTest[];
}

/** Reads the sources below the root of the repository. Throws ContractError for a file that is no mapping. */
export async function readSources(root: string): Promise<Sources> {
  const folder = join(root, "spec");
  const messages = (await readdir(join(folder, "messages"))).filter((name) => name.endsWith(".yaml")).toSorted();
  const files = [...messages.map((name) => `messages/${name}`), "api.yaml"];
  const documents = await Promise.all(files.map(async (file) => [file, await readYaml(folder, file)] as const));
  return {
    documents: new Map(documents),
    errors: await readYaml(folder, "error-codes.yaml"),
    reasons: await readYaml(folder, "reason-codes.yaml"),
    mediaTypes: await readYaml(folder, "media-types.yaml"),
    topics: await readFile(join(folder, "mqtt-topics.md"), "utf8"),
    reasonTests: await findReasonTests(root),
  };
}

async function readYaml(folder: string, file: string): Promise<JsonObject> {
  const text = await readFile(join(folder, file), "utf8");
  return parseYaml(text, file);
}

/** One YAML document as JSON; a key that stands twice is an error. */
export function parseYaml(text: string, file: string): JsonObject {
  const parsed: unknown = parse(text, { uniqueKeys: true, strict: true });
  const document = toJson(parsed, file);
  if (!isObject(document)) throw new ContractError(`${file}: must be a mapping`);
  return document;
}

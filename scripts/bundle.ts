import { mkdir, rm, writeFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";
import { root } from "./process.ts";

/** One file that Node.js runs, with everything in it but Node.js itself. */
export interface Bundle {
  readonly code: string;
  /** Modules of Node.js that it imports, without their prefix. */
  readonly builtins: readonly string[];
}

/** With any of these a program could start another one, or code that is not its own. */
const PROCESS_STARTERS = ["child_process", "cluster", "worker_threads", "vm", "repl", "inspector"];

export async function bundle(entry: string): Promise<Bundle> {
  const build = await rolldown({ input: join(root, entry), platform: "node", logLevel: "silent" });
  const { output } = await build.generate({ format: "esm", minify: false, codeSplitting: false });
  await build.close();
  const [chunk, ...others] = output;
  if (others.length > 0) throw new Error(`${entry} became more than one file`);
  const builtins = [...chunk.imports, ...chunk.dynamicImports].map((name) => name.replace(/^node:/, ""));
  const foreign = builtins.filter((name) => !builtinModules.includes(name));
  if (foreign.length > 0) throw new Error(`${entry} still needs ${foreign.join(", ")}`);
  return { code: chunk.code, builtins: [...new Set(builtins)].toSorted() };
}

/** What in a bundle could start a process; empty for the confined agent. */
export function processStarters({ code, builtins }: Bundle): readonly string[] {
  const imported = builtins.filter((name) => PROCESS_STARTERS.includes(name));
  // Names that reach the same by another way than an import.
  const reached = ["child_process", "process.binding", "process.dlopen", "getBuiltinModule"].filter((name) =>
    code.includes(name),
  );
  return [...new Set([...imported, ...reached])];
}

/** `npm run bundle`: writes dist/muto-agent.mjs, and refuses one that could start a process. */
async function main(): Promise<number> {
  const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
  const agent = await bundle("agent/confined.ts");
  const starters = processStarters(agent);
  if (starters.length > 0) {
    console.error(`the confined agent could start a process: ${starters.join(", ")}`);
    return 1;
  }
  await rm(join(values.out, "muto-agent.mjs"), { force: true });
  await mkdir(values.out, { recursive: true });
  await writeFile(join(values.out, "muto-agent.mjs"), agent.code);
  console.log(`${join(values.out, "muto-agent.mjs")}: ${Math.round(agent.code.length / 1024)} KiB`);
  return 0;
}

if (import.meta.main) process.exitCode = await main();

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export const root = join(import.meta.dirname, "..");

/** Runs a program of this repository in its root with our output; resolves to its exit code (a signal counts as 1). */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...env },
    });
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

export interface Told {
  readonly code: number;
  /** The newest lines of its output and its complaints, as many as a reader of a failure wants to see. */
  readonly lastLines: readonly string[];
}

const lastLinesMax = 80;
const listenAfterExitMs = 2_000;

/** As `run`, and remembers the end of what the program said. */
export async function runTold(program: string, args: readonly string[]): Promise<Told> {
  const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit");
  // A process that the program left behind may hold our pipes open for ever.
  const deaf = new AbortController();
  child.once("exit", () => setTimeout(() => deaf.abort(), listenAfterExitMs).unref());
  const lastLines: string[] = [];
  const listen = async (from: Readable, to: NodeJS.WritableStream) => {
    for await (const line of createInterface({ input: from, signal: deaf.signal })) {
      to.write(`${line}\n`);
      lastLines.push(line);
      if (lastLines.length > lastLinesMax) lastLines.shift();
    }
  };
  await Promise.all([listen(child.stdout, process.stdout), listen(child.stderr, process.stderr)]);
  child.stdout.destroy();
  child.stderr.destroy();
  const [code] = await exited;
  return { code: typeof code === "number" ? code : 1, lastLines };
}

/** A program that a dependency brings, by its path: never through npx. */
export function tool(name: string): string {
  return join(root, "node_modules", ".bin", name);
}

export function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

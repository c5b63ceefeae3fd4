import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const main = join(import.meta.dirname, "..", "cli", "main.ts");
const STOP_LIMIT_MS = 15_000;

/** One `muto …` process of the demonstration, its output kept in a file. */
export interface MutoProgram {
  readonly pid: number;
  /** Lines of standard output as they come. */
  readonly lines: AsyncIterable<string>;
  readonly exited: Promise<number>;
  stop(): Promise<void>;
}

/** `main` names another copy of the program, such as the next version of an agent. */
export function startMuto(
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; logFile: string; main?: string },
): MutoProgram {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MUTO_")));
  const program = options.main ?? main;
  const child: ChildProcess = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, ...args], {
    env: { ...clean, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { stdout, stderr, pid } = child;
  if (stdout === null || stderr === null || pid === undefined) throw new Error(`muto ${args.join(" ")} did not start`);
  const log = createWriteStream(options.logFile, { flags: "a" });
  stderr.pipe(log, { end: false });
  const exited = new Promise<number>((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
  return {
    pid,
    lines: createInterface({ input: stdout }),
    exited,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
      await exited;
      clearTimeout(timer);
      log.end();
    },
  };
}

/** Runs one command to its end and returns what it printed; throws when it fails. */
export async function runMuto(
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; logFile: string },
): Promise<string> {
  const program = startMuto(args, options);
  let printed = "";
  for await (const line of program.lines) printed += `${line}\n`;
  const code = await program.exited;
  if (code !== 0) throw new Error(`muto ${args.join(" ")} ended with ${code}; see ${options.logFile}`);
  return printed;
}

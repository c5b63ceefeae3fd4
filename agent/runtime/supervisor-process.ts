import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@muto/kit/clock";
import type { RunOrder } from "./run-records.ts";
import { within } from "./within.ts";

/** Starts supervisors; the only place where the agent starts a process. */
export interface SupervisorSpawner {
  /** Runs the workload of a spec in a folder. */
  start(folder: string, spec: RunOrder, limitMs: number): Promise<SupervisorSpawned>;
  /** Takes over from a supervisor that died, with what is left of its spec. */
  adopt(folder: string, spec: unknown, limitMs: number): Promise<SupervisorSpawned>;
}

export type SupervisorSpawned =
  | { readonly kind: "running" }
  /** `code` is the operating system's, or OWNED when somebody else has the folder. */
  | { readonly kind: "refused"; readonly code: string }
  | SupervisorDeath
  /** Nothing was heard within the limit; the supervisor was killed, what it may have started was not. */
  | { readonly kind: "timeout" };

/** It ended without a word. Neither code nor signal: it is deaf and dumb, but had not ended within the limit. */
export interface SupervisorDeath {
  readonly kind: "died";
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The end of its log. */
  readonly lastWords: string;
}

const SUPERVISOR_FILE = "supervisor.mjs";
const LOG_FILE = "supervisor.log";

const WORD_BYTES_MAX = 200;
const LAST_WORDS_BYTES_MAX = 2_000;
/** From the end of file on its fourth descriptor until the operating system says how it ended. */
const DEATH_LIMIT_MS = 1_000;

/** `nodePath` runs the supervisors. They see nothing of the agent's environment, and stay when it goes (H2). */
export function supervisorSpawner(nodePath: string, clock: Clock): SupervisorSpawner {
  const run = async (folder: string, mode: "start" | "adopt", spec: unknown, limitMs: number) => {
    const child = launch(nodePath, folder, mode);
    child.unref();
    // A supervisor that dies before it has read its spec is heard of in another way.
    child.stdin?.on("error", () => {});
    child.stdin?.end(JSON.stringify(spec));
    const outcome = await within(clock, limitMs, firstWord(child));
    if (outcome?.kind === "silent") return await deathOf(child, folder, clock);
    if (outcome !== undefined) return outcome;
    child.kill("SIGKILL");
    return { kind: "timeout" } as const;
  };
  return {
    start: (folder, spec, limitMs) => run(folder, "start", spec, limitMs),
    adopt: (folder, spec, limitMs) => run(folder, "adopt", spec, limitMs),
  };
}

function launch(nodePath: string, folder: string, mode: "start" | "adopt"): ChildProcess {
  const complaints = openSync(join(folder, LOG_FILE), "a", 0o600);
  try {
    return spawn(nodePath, [SUPERVISOR_FILE, mode], {
      cwd: folder,
      detached: true,
      stdio: ["pipe", "ignore", complaints, "pipe"],
      env: {},
    });
  } finally {
    closeSync(complaints);
  }
}

/** Reads the one line that the supervisor writes to its fourth descriptor once it is known how the start went. */
async function firstWord(
  child: ChildProcess,
): Promise<Exclude<SupervisorSpawned, SupervisorDeath> | { readonly kind: "silent" }> {
  try {
    // Without a process there is an error to come, and nothing to read.
    if (child.pid === undefined) await once(child, "never");
    child.on("error", () => {});
    const words = child.stdio[3];
    if (words === undefined || words === null || !("read" in words))
      throw new Error("the supervisor has no pipe to us");
    words.setEncoding("utf8");
    let text = "";
    for await (const chunk of words) {
      text += String(chunk);
      if (text.includes("\n") || text.length > WORD_BYTES_MAX) break;
    }
    const [word, code] = text.trimEnd().split(" ");
    if (word === "running") return { kind: "running" };
    return word === "refused" && code !== undefined ? { kind: "refused", code } : { kind: "silent" };
  } catch (error) {
    const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "EIO";
    return { kind: "refused", code };
  }
}

async function deathOf(child: ChildProcess, folder: string, clock: Clock): Promise<SupervisorDeath> {
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  if (!hasEnded()) await within(clock, DEATH_LIMIT_MS, once(child, "exit"));
  return { kind: "died", exitCode: child.exitCode, signal: child.signalCode, lastWords: lastWords(folder) };
}

function lastWords(folder: string): string {
  try {
    return readFileSync(join(folder, LOG_FILE)).subarray(-LAST_WORDS_BYTES_MAX).toString("utf8").trim();
  } catch {
    // The folder may be gone with it.
    return "";
  }
}

import { spawn } from "node:child_process";
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";

/** `held`: another agent uses this state; `pid` is what it wrote down. `unavailable`: the computer has no `flock` program. */
export type AgentLock =
  | { readonly ok: true; readonly lock: AsyncDisposable }
  | { readonly ok: false; readonly problem: "held"; readonly pid: number | undefined }
  | { readonly ok: false; readonly problem: "unavailable"; readonly code: string };

const LOCK_FILE = "agent.lock";
const HELD = 1;

/**
 * Makes sure that one agent alone works with a state folder: two would both start workloads, and the hardware is
 * exclusive. The kernel holds the lock for as long as this process lives and drops it at its death, however it dies; so
 * there is no stale lock to judge, and a new agent is never kept out by a dead one.
 */
export async function lockAgentState(stateFolder: string): Promise<AgentLock> {
  await mkdir(stateFolder, { recursive: true });
  const file = await open(join(stateFolder, LOCK_FILE), "a+", 0o600);
  const outcome = await flock(file);
  if (outcome === "locked") {
    await writeHolder(file);
    return { ok: true, lock: { [Symbol.asyncDispose]: () => file.close() } };
  }
  const holder = Number.parseInt(await file.readFile("utf8"), 10);
  await file.close();
  if (outcome !== "held") return { ok: false, problem: "unavailable", code: outcome.code };
  return { ok: false, problem: "held", pid: Number.isNaN(holder) ? undefined : holder };
}

/** Only for people to read: a full disk, which has no room for it, must not keep the agent from working. */
async function writeHolder(file: FileHandle): Promise<void> {
  try {
    await file.truncate(0);
    await file.appendFile(`${process.pid}\n`);
  } catch {
    // The lock holds all the same.
  }
}

/**
 * Node.js has no file locks. The lock belongs to the open file, which the child shares with us, so it stays when the
 * child has gone. Processes started later do not share it: Node.js opens files for itself alone.
 */
function flock(file: FileHandle): Promise<"locked" | "held" | { readonly code: string }> {
  return new Promise((resolve) => {
    const child = spawn("flock", ["--exclusive", "--nonblock", "3"], {
      stdio: ["ignore", "ignore", "ignore", file.fd],
    });
    child.once("error", (error) => resolve({ code: "code" in error ? String(error.code) : error.name }));
    child.once("exit", (code) => {
      if (code === 0) resolve("locked");
      else resolve(code === HELD ? "held" : { code: `EXIT_${code ?? "SIGNAL"}` });
    });
  });
}

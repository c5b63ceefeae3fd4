import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A running stack of another vendor. */
export interface PeerProcess extends AsyncDisposable {
  /** A command, as the peer's source describes them. */
  say(line: string): void;
  /** Leaves as a node that is asked to stop. */
  leave(): Promise<void>;
  /** Lets it stand still, or go on. */
  freeze(frozen: boolean): void;
  /** Ends without a goodbye. */
  kill(): Promise<void>;
}

/** Starts a peer in the network of this process; resolves when its writers exist. */
export async function startPeer(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<PeerProcess> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...env } });
  const ended = once(child, "exit");
  child.stdin.on("error", () => {});
  const ready = (async () => {
    for await (const line of createInterface({ input: child.stdout })) if (line === "ready") return true;
    return false;
  })();
  if (!(await ready)) throw new Error("the peer ended before it was ready");
  child.stdout.resume();
  return {
    say: (line) => void child.stdin.write(`${line}\n`),
    leave: async () => {
      child.stdin.end();
      await ended;
    },
    freeze: (frozen) => void child.kill(frozen ? "SIGSTOP" : "SIGCONT"),
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await ended;
    },
  };
}

import { spawn } from "node:child_process";
import { join } from "node:path";

/** What a file of tests came to in a network of its own. */
export interface Outcome {
  readonly code: number | null;
  readonly passed: number;
  readonly output: string;
}

const SET_UP = 'ip link set lo up && ip link set lo multicast on && ip route add 239.255.0.0/16 dev lo && exec "$@"';

/**
 * Arguments that run a program in a network namespace of its own, in which only the loopback exists: no datagram of a test ever
 * meets the real network, or another test.
 */
export function inOwnNetwork(program: string, ...args: readonly string[]): readonly [string, ...string[]] {
  return ["unshare", "--net", "--kill-child", "--fork", "sh", "-c", SET_UP, "sh", program, ...args];
}

/** Runs a file of tests of this folder with node:test in a network of its own. */
export async function runInOwnNetwork(file: string, env: Readonly<Record<string, string>>): Promise<Outcome> {
  const args = ["--disable-warning=ExperimentalWarning", "--test", "--test-isolation=none", "--test-reporter=tap"];
  const [program, ...rest] = inOwnNetwork(process.execPath, ...args, join(import.meta.dirname, file));
  // The runner of the outer tests must not take the inner one for a part of itself.
  const { NODE_TEST_CONTEXT: _context, ...inherited } = process.env;
  const child = spawn(program, rest, { env: { ...inherited, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => void output.push(text));
  const code = await new Promise<number | null>((resolve) => {
    child.once("close", resolve);
  });
  const text = output.join("");
  return { code, passed: Number(/^# pass (\d+)$/m.exec(text)?.[1] ?? 0), output: text };
}

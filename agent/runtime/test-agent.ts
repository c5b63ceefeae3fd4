import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { SetOnDisk } from "../ports.ts";
import type { ProcessRuntimeOptions } from "./process-runtime.ts";

/** For tests: an agent in a process of its own, that starts workloads and does nothing else until it is killed. */
export interface TestAgent {
  /** Resolves when it has said this line. */
  said(line: string): Promise<void>;
  /** Tells it to stop everything that it started; it says "stopping". */
  stopAll(): void;
  kill(): Promise<void>;
}

const PROGRAM = `
const [bench, given] = process.argv.slice(1);
const { optionsFor } = await import(bench + "/test-bench.ts");
const { ProcessRuntime } = await import(bench + "/process-runtime.ts");
const { runs, set, workloads, ...options } = JSON.parse(given);
const runtime = new ProcessRuntime({ ...optionsFor(runs), ...options });
console.log("begin");
for (const name of workloads) {
  const workload = set.manifest.workloads.find((one) => one.name === name);
  const started = await runtime.start(set, workload, "agent-" + name);
  console.log(started.ok ? "started " + name : JSON.stringify(started));
}
console.log("all started");
process.stdin.on("data", async () => {
  console.log("stopping");
  for (const name of workloads) await runtime.stop("agent-" + name);
});
`;

export function runAgent(
  options: Pick<ProcessRuntimeOptions, "runs" | "isolation" | "terminateLimitMs"> &
    Partial<Pick<ProcessRuntimeOptions, "host">>,
  set: SetOnDisk,
  workloads: readonly string[],
): TestAgent {
  const given = JSON.stringify({ ...options, set, workloads });
  const args = ["--input-type=module", "-e", PROGRAM, import.meta.dirname, given];
  const child = spawn(process.execPath, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, AGENT_TOKEN: "secret-of-the-agent" },
  });
  const lines = createInterface(child.stdout);
  const heard = new Set<string>();
  lines.on("line", (line) => heard.add(line));
  return {
    said: async (line) => {
      while (!heard.has(line)) await once(lines, "line");
    },
    stopAll: () => child.stdin.write("stop\n"),
    kill: async () => {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { runAgent } from "./main.ts";

/*
 * The agent for vehicles whose stacks are containers, as a program of its own: nothing in it can start a process, so the
 * platform may forbid it to execute anything but itself (deploy/systemd/muto-agent.service).
 */
const { values } = parseArgs({ options: { config: { type: "string" } } });
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort(signal));
if (values.config === undefined) {
  process.stderr.write("usage: muto-agent --config FILE\n");
  process.exitCode = 2;
} else {
  const log = (line: string) => void process.stderr.write(line);
  process.exitCode = await runAgent({ configFile: resolve(values.config), signal: stop.signal, log });
}

import { createInterface } from "node:readline/promises";
import { systemClock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import { systemRandom } from "@muto/kit/random";
import { commands } from "./commands/index.ts";
import type { Io } from "./io.ts";
import { runProgram } from "./program.ts";
import { VERSION } from "./version.ts";

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The second one means it: whatever hangs is left behind.
    if (stop.signal.aborted) process.exit(130);
    stop.abort(signal);
  });
}

const io: Io = {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
  terminal: process.stdout.isTTY,
  errorTerminal: process.stderr.isTTY,
  architecture: process.arch === "x64" ? "amd64" : process.arch,
  environment: process.env,
  http: systemHttp(),
  clock: systemClock(),
  random: systemRandom(),
  signal: stop.signal,
  ask: async (question) => {
    if (!process.stdin.isTTY) return undefined;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await lines.question(question, { signal: stop.signal });
    } finally {
      lines.close();
    }
  },
};

process.exitCode = await runProgram(commands, VERSION, process.argv.slice(2), io);

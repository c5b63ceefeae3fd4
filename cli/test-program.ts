import { systemClock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import { seededRandom } from "@muto/kit/random";
import { commands } from "./commands/index.ts";
import type { Io } from "./io.ts";
import { runProgram } from "./program.ts";

/** Runs one command in this process, as a test wants it: what was printed, and the exit code. */
export async function runMuto(args: readonly string[], overrides: Partial<Io> = {}) {
  const printed = { out: "", error: "" };
  const io: Io = {
    out: (text) => void (printed.out += text),
    error: (text) => void (printed.error += text),
    terminal: false,
    errorTerminal: false,
    architecture: "amd64",
    environment: {},
    http: systemHttp(),
    clock: systemClock(),
    random: seededRandom(1),
    signal: new AbortController().signal,
    ask: async () => undefined,
    ...overrides,
  };
  const code = await runProgram(commands, "1.2.3", args, io);
  return { code, ...printed };
}

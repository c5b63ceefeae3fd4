import { parseInput } from "./arguments.ts";
import { CommandFailed } from "./command.ts";
import type { Command } from "./command.ts";
import { commandHelp, overview } from "./help.ts";
import type { Io } from "./io.ts";

/** Runs one command line; resolves to the exit code. Every expected trouble is one line, and what to try next. */
export async function runProgram(
  commands: readonly Command[],
  version: string,
  args: readonly string[],
  io: Io,
): Promise<number> {
  const [first] = args;
  if (first === undefined || first === "--help" || first === "help") {
    io.out(overview(commands, version));
    return first === undefined ? 2 : 0;
  }
  if (first === "--version") {
    io.out(`${version}\n`);
    return 0;
  }
  const command = longestMatch(commands, args);
  if (command === undefined) {
    const family = commands.filter(({ words }) => words[0] === first);
    if (family.length > 0 && (args[1] === undefined || args[1] === "--help")) {
      io.out(overview(family, version));
      return args[1] === undefined ? 2 : 0;
    }
    io.error(
      `muto: there is no command "${args
        .filter((arg) => !arg.startsWith("-"))
        .slice(0, 2)
        .join(" ")}"\n`,
    );
    io.error(`try:  ${closest(commands, first)}\n`);
    return 2;
  }
  try {
    const input = parseInput(command, args.slice(command.words.length));
    if (input.flag("help")) {
      io.out(commandHelp(command));
      return 0;
    }
    return await command.run(input, io);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    io.error(`muto: ${error.message}\n`);
    if (error.hint !== undefined) io.error(`try:  ${error.hint}\n`);
    return error.exitCode;
  }
}

function longestMatch(commands: readonly Command[], args: readonly string[]): Command | undefined {
  return commands
    .filter(({ words }) => words.every((word, index) => args[index] === word))
    .toSorted((a, b) => b.words.length - a.words.length)[0];
}

function closest(commands: readonly Command[], word: string): string {
  const families = [...new Set(commands.map(({ words }) => words[0] ?? ""))];
  const near = families.filter((family) => family.startsWith(word.slice(0, 2)));
  return near.length === 0 ? "muto --help" : near.map((family) => `muto ${family} --help`).join("  or  ");
}

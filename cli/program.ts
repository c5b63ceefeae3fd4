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
    io.error(`try:  ${closest(commands, first, args[1])}\n`);
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

/** The commands of the named family whose verb is most like the typed one; else the families that begin alike. */
function closest(commands: readonly Command[], word: string, verb: string | undefined): string {
  const family = commands.filter(({ words }) => words[0] === word);
  if (family.length > 0) {
    const rated = family.map(({ words }) => ({ words, edits: editsBetween(words[1] ?? "", verb ?? "") }));
    const [best] = rated.toSorted((a, b) => a.edits - b.edits);
    return best === undefined || best.edits > EDITS_MAX ? `muto ${word} --help` : `muto ${best.words.join(" ")}`;
  }
  const families = [...new Set(commands.map(({ words }) => words[0] ?? ""))];
  const near = families.filter((name) => name.startsWith(word.slice(0, 2)));
  return near.length === 0 ? "muto --help" : near.map((name) => `muto ${name} --help`).join("  or  ");
}

/** More typing mistakes than that are another word. */
const EDITS_MAX = 2;

/** Levenshtein's distance: letters to insert, to remove or to replace. */
function editsBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [index, letter] of from.split("").entries()) {
    const next = [index + 1];
    for (const [column, other] of to.split("").entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

import { parseArgs } from "node:util";
import { CommandFailed } from "./command.ts";
import type { Command, Input, Option } from "./command.ts";

/** Options that the command has beside its own: every one those of the output, and who calls a control plane its address. */
export function commonOptions({ local = false }: Command): Readonly<Record<string, Option>> {
  return local ? outputOptions : { ...urlOption, ...outputOptions };
}

const urlOption: Readonly<Record<string, Option>> = {
  url: { about: "origin of the control plane (MUTO_URL; default http://127.0.0.1:8080)", type: "text", value: "URL" },
};

const outputOptions: Readonly<Record<string, Option>> = {
  output: { about: "table for people, json for programs", type: "text", value: "FORM", choices: ["table", "json"] },
  help: { about: "this text", type: "flag" },
};

/** Parses what follows the command's words. Throws {@link CommandFailed} with exit code 2 that names what is wrong. */
export function parseInput(command: Command, args: readonly string[]): Input {
  const options = { ...commonOptions(command), ...command.options };
  const { values, positionals } = parsed(command, options, args);
  const declared = command.positionals ?? [];
  if (positionals.length > declared.length) throw usage(command, `unexpected argument ${positionals[declared.length]}`);
  const missing = declared.find(
    (positional, index) => positional.optional !== true && positionals[index] === undefined,
  );
  const given = new Map(Object.entries(values));
  if (given.get("help") !== true) {
    if (missing !== undefined) throw usage(command, `${missing.name} is missing`);
    for (const [name, option] of Object.entries(options)) check(command, name, option, given.get(name));
  }
  const text = (name: string) => {
    const value = given.get(name);
    return typeof value === "string" ? value : undefined;
  };
  const optionalPositional = (name: string) =>
    positionals[declared.findIndex((positional) => positional.name === name)];
  return {
    optionalPositional,
    positional: (name) => present(optionalPositional(name), name),
    text,
    required: (name) => present(text(name), name),
    number: (name) => (text(name) === undefined ? undefined : Number(text(name))),
    flag: (name) => given.get(name) === true,
    list: (name) => {
      const value = given.get(name);
      return Array.isArray(value) ? value.map(String) : [];
    },
  };
}

function parsed(command: Command, options: Readonly<Record<string, Option>>, args: readonly string[]) {
  const config = Object.fromEntries(
    Object.entries(options).map(([name, option]) => [
      name,
      { type: option.type === "flag" ? ("boolean" as const) : ("string" as const), multiple: option.type === "list" },
    ]),
  );
  try {
    return parseArgs({ args: [...args], options: config, allowPositionals: true, strict: true });
  } catch (cause) {
    throw usage(command, cause instanceof Error ? (cause.message.split(". ")[0] ?? cause.message) : String(cause));
  }
}

function check(command: Command, name: string, option: Option, value: unknown): void {
  if (value === undefined) {
    if (option.required === true) throw usage(command, `--${name} is missing`);
    return;
  }
  if (option.type === "number" && !(typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value))) {
    throw usage(command, `--${name} takes a number`);
  }
  if (option.choices !== undefined && !(typeof value === "string" && option.choices.includes(value))) {
    throw usage(command, `--${name} takes ${option.choices.join(" or ")}`);
  }
}

function usage(command: Command, message: string): CommandFailed {
  return new CommandFailed(message, { exitCode: 2, hint: `muto ${command.words.join(" ")} --help` });
}

function present(value: string | undefined, name: string): string {
  if (value === undefined) throw new Error(`${name} is read but not declared as required`);
  return value;
}

import { commonOptions } from "./arguments.ts";
import type { Command, Option } from "./command.ts";

export function commandHelp(command: Command): string {
  const positionals = (command.positionals ?? []).map(({ name, optional }) => (optional === true ? `[${name}]` : name));
  const lines = [`usage: muto ${[...command.words, ...positionals].join(" ")} [OPTIONS]`, "", `${command.summary}.`];
  if (command.details !== undefined) lines.push("", command.details);
  if (command.positionals !== undefined && command.positionals.length > 0) {
    lines.push("", ...columns(command.positionals.map(({ name, about }) => [name, about])));
  }
  lines.push("", ...columns(Object.entries({ ...command.options, ...commonOptions(command) }).map(optionRow)));
  return `${lines.join("\n")}\n`;
}

export function overview(commands: readonly Command[], version: string): string {
  const rows = commands.map((command) => [command.words.join(" "), command.summary] as const);
  return [
    `muto ${version}: rolls out ROS 2 stacks to fleets of vehicles, by signed desired state`,
    "",
    "usage: muto COMMAND [ARGUMENTS] [OPTIONS]; muto COMMAND --help tells more",
    "",
    ...columns(rows),
    "",
    "MUTO_URL names the control plane, MUTO_TOKEN holds your token. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
    "",
  ].join("\n");
}

function optionRow([name, option]: [string, Option]): readonly [string, string] {
  const value = option.type === "flag" ? "" : ` ${option.value ?? (option.type === "number" ? "N" : "TEXT")}`;
  const notes = [
    ...(option.required === true ? ["required"] : []),
    ...(option.type === "list" ? ["may be repeated"] : []),
    ...(option.choices === undefined ? [] : [option.choices.join(" | ")]),
  ];
  return [`--${name}${value}`, notes.length === 0 ? option.about : `${option.about} (${notes.join("; ")})`];
}

function columns(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

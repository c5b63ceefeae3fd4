import type { Io } from "./io.ts";

/** One verb of the command line. Its declaration is its help; nothing is parsed that is not declared. */
export interface Command {
  /** Such as ["rollout", "pause"]. */
  readonly words: readonly string[];
  readonly summary: string;
  readonly positionals?: readonly Positional[];
  readonly options?: Readonly<Record<string, Option>>;
  /** A sentence or two below the summary in the help, and examples. */
  readonly details?: string;
  /** True for what works on the data folder alone, and calls no control plane. */
  readonly local?: boolean;
  /** Resolves to the exit code: 0 done, 1 refused or failed, 2 wrong usage. */
  readonly run: (input: Input, io: Io) => Promise<number>;
}

export interface Positional {
  readonly name: string;
  readonly about: string;
  readonly optional?: boolean;
}

export interface Option {
  readonly about: string;
  readonly type: "text" | "number" | "flag" | "list";
  /** Shown in the help after the option's name. */
  readonly value?: string;
  readonly required?: boolean;
  readonly choices?: readonly string[];
}

/** What was typed, checked against the declaration. */
export interface Input {
  positional(name: string): string;
  optionalPositional(name: string): string | undefined;
  text(name: string): string | undefined;
  required(name: string): string;
  number(name: string): number | undefined;
  flag(name: string): boolean;
  list(name: string): readonly string[];
}

/** Trouble that ends a command with one line (or a few) on standard error. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
  readonly exitCode: 1 | 2;
  /** What the person can do next. */
  readonly hint: string | undefined;

  constructor(message: string, options: { exitCode?: 1 | 2; hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
    this.hint = options.hint;
  }
}

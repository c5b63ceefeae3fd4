import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import type { Random } from "@muto/kit/random";

/** What a command may touch, so that every command can be tested without a terminal. */
export interface Io {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** True when standard output is a terminal: progress may redraw itself. */
  readonly terminal: boolean;
  /** The same of standard error. */
  readonly errorTerminal: boolean;
  /** This computer's, in the words of container images: amd64, arm64. */
  readonly architecture: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts when the person presses Ctrl-C or the process is told to end. */
  readonly signal: AbortSignal;
  /** Asks a question and reads one line; undefined when nobody can answer. */
  readonly ask: (question: string) => Promise<string | undefined>;
}

/** Resolves when the signal aborts. */
export async function ended(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

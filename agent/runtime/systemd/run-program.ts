import { execFile } from "node:child_process";

export type ProgramAnswer =
  | { readonly kind: "exited"; readonly code: number; readonly stdout: string; readonly stderr: string }
  /** It could not be started, did not answer in time, or said more than anybody reads. */
  | { readonly kind: "failed"; readonly problem: string };

/** Runs a program of the system with an argument list, never through a shell. Never rejects. */
export type RunProgram = (program: string, args: readonly string[], limitMs: number) => Promise<ProgramAnswer>;

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** `prefix` is a program with arguments that runs the rest elsewhere (`nsenter …`), or nothing. */
export function systemPrograms(prefix: readonly string[] = []): RunProgram {
  return (program, args, limitMs) =>
    new Promise((resolve) => {
      const [first = program, ...rest] = [...prefix, program, ...args];
      const env = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };
      const options = { timeout: limitMs, maxBuffer: OUTPUT_BYTES_MAX, killSignal: "SIGKILL" as const, env };
      execFile(first, rest, options, (error, stdout, stderr) => {
        if (error === null) resolve({ kind: "exited", code: 0, stdout, stderr });
        else if (typeof error.code === "number") resolve({ kind: "exited", code: error.code, stdout, stderr });
        else resolve({ kind: "failed", problem: error.code ?? error.signal ?? "EIO" });
      });
    });
}

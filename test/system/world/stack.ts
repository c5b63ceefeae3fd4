import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StackManifestInput } from "@muto/spec";

/** A tiny stack: each workload is the text of an executable file in one archive. */
export interface StackSpec {
  readonly version: string;
  readonly name?: string;
  /** Program text by workload name. Left out: one workload that sleeps. */
  readonly programs?: Readonly<Record<string, string>>;
  readonly healthModel?: Partial<StackManifestInput["healthModel"]>;
  readonly compatibility?: Partial<StackManifestInput["compatibility"]>;
  /** Overrides argv of every workload. */
  readonly argv?: readonly string[];
  readonly diskMbMin?: number;
}

/** Runs until it is told to stop, and costs nothing. */
export const sleeper = "#!/bin/sh\nexec sleep 1000000\n";

/** Ends at once. */
export const crasher = "#!/bin/sh\necho about to end\nexit 3\n";

/** Port that {@link server} listens on, at the vehicle's own loopback address. */
export const SERVER_PORT = 7400;

/** Answers HTTP on the vehicle's own loopback address, and says so. */
export const server = `#!${process.execPath}
require("node:http")
  .createServer((request, response) => response.writeHead(request.url === "/ready" ? 200 : 404).end())
  .listen(${SERVER_PORT}, process.env.MUTO_PROBE_ADDRESS, () => console.log("serving"));
`;

/** Probes of {@link server}, one of each kind; the workload is called "server". */
export const serverProbes: NonNullable<StackManifestInput["healthModel"]["probes"]> = [
  { kind: "process", name: "server-runs", workload: "server" },
  { kind: "tcp", name: "server-accepts", workload: "server", port: SERVER_PORT },
  { kind: "http", name: "server-ready", workload: "server", port: SERVER_PORT, path: "/ready" },
  { kind: "log", name: "server-says", workload: "server", text: "serving" },
];

/** A probe that never holds. */
export const neverMet = {
  kind: "log",
  name: "never-said",
  workload: "main",
  text: "this is never said",
} as const;

/** Writes the programs into a folder and returns the stack's file as `muto release push` would read it. */
export function layOut(
  spec: StackSpec,
  folder: string,
): { readonly manifest: StackManifestInput; readonly archive: string } {
  const { version, name = "stack", programs = { main: sleeper }, argv } = spec;
  const archive = join(folder, "bin");
  mkdirSync(archive, { recursive: true });
  for (const [program, text] of Object.entries(programs)) {
    writeFileSync(join(archive, program), text, { mode: 0o755 });
  }
  const workloads = Object.keys(programs).map((workload) => ({
    name: workload,
    type: "native" as const,
    // The folder's name until the archive is built.
    archive: "bin",
    argv: argv ?? [workload],
    stop: { limitSec: 1 },
  }));
  const manifest = {
    kind: "muto.stack/v1",
    name,
    version,
    compatibility: { vehicleModels: [], os: [], rosDistro: [], ...spec.compatibility },
    resourceProfile: { diskMbMin: spec.diskMbMin ?? 1 },
    healthModel: { readinessTimeoutSec: 10, probationSec: 0, maxRestarts: 1, windowSec: 60, ...spec.healthModel },
    workloads,
  } as const;
  return { manifest, archive };
}

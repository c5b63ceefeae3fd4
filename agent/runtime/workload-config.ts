import { createHash } from "node:crypto";
import { join, normalize, sep } from "node:path";
import type { NativeWorkload, StackManifest } from "@muto/spec";

/**
 * The only variables of the agent's own environment that a workload may see: the agent holds tokens and keys, and a
 * workload must not find them in its environment.
 */
export const HOST_VARIABLES = ["PATH", "HOME", "LANG", "TZ"] as const;

export type HostEnvironment = Readonly<Partial<Record<(typeof HOST_VARIABLES)[number], string>>>;

export interface InstanceMarks {
  readonly instanceId: string;
  readonly set: string;
  /** Loopback address that probes will look at; the workload listens there. */
  readonly probeAddress: string;
  /** Where its parameter files lie; undefined when it has none. */
  readonly paramsFolder?: string | undefined;
}

/** Variables that say what a process belongs to, to itself and to an agent that finds nothing else about it. */
export const IDENTITY_MARKS = { set: "MUTO_SET", workload: "MUTO_WORKLOAD", configHash: "MUTO_CONFIG_HASH" } as const;

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * `sha256:…` over all that decides what the process is, what it may have and how it is stopped; equal for equal configurations,
 * whatever the order of keys. What is left at its default does not count, so that a newer agent sees no change in it.
 */
export function workloadConfigHash(manifest: StackManifest, workload: NativeWorkload): string {
  const { archive, argv, stop, setup, launchArguments, params, resources, gpus } = workload;
  const environment = Object.entries({ ...rosEnvironment(manifest), ...workload.env }).toSorted(byName);
  const files = params.map(({ name, text }): [string, string] => [name, text]).toSorted(byName);
  const optional = Object.entries({
    ...(setup.length === 0 ? {} : { setup }),
    ...(Object.keys(launchArguments).length === 0
      ? {}
      : { launchArguments: Object.entries(launchArguments).toSorted(byName) }),
    ...(files.length === 0 ? {} : { params: files }),
    ...(Object.keys(resources).length === 0
      ? {}
      : { resources: Object.entries(resources).toSorted(([a], [b]) => (a < b ? -1 : 1)) }),
    ...(gpus === "none" ? {} : { gpus }),
  });
  const required = [archive, argv, environment, stop.signal, stop.limitSec];
  const configuration = JSON.stringify(optional.length === 0 ? required : [...required, optional]);
  return `sha256:${createHash("sha256").update(configuration).digest("hex")}`;
}

/** Everything that the workload's environment holds; what comes later wins, and our marks cannot be overridden. */
export function workloadEnvironment(
  manifest: StackManifest,
  workload: NativeWorkload,
  host: HostEnvironment,
  marks: InstanceMarks,
): Readonly<Record<string, string>> {
  return {
    PATH: DEFAULT_PATH,
    ...pick(host),
    // Byte code written into the set would make its next verification fail; what is printed must be there after a crash.
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    ...rosEnvironment(manifest),
    ...workload.env,
    MUTO_PROBE_ADDRESS: marks.probeAddress,
    ...(marks.paramsFolder === undefined ? {} : { MUTO_PARAMS: marks.paramsFolder }),
    MUTO_INSTANCE: marks.instanceId,
    [IDENTITY_MARKS.set]: marks.set,
    [IDENTITY_MARKS.workload]: workload.name,
    [IDENTITY_MARKS.configHash]: workloadConfigHash(manifest, workload),
  };
}

export type NativeCommand =
  | { readonly ok: true; readonly program: string; readonly args: readonly string[] }
  | { readonly ok: false; readonly code: "PROGRAM_OUTSIDE_ARCHIVE" | "SETUP_OUTSIDE_ARCHIVE" | "EINVAL" };

/**
 * Sources files given as arguments, so many as the first one says, then becomes what follows. Fixed, so that nothing of a
 * manifest is ever read as shell code. Each file is sourced in a function without arguments: it must not take ours for its own.
 */
const SETUP_SCRIPT = [
  'muto_source() { . "$muto_file"; }',
  "muto_left=$1",
  "shift",
  'while [ "$muto_left" -gt 0 ]; do muto_file=$1',
  '[ -r "$muto_file" ] || { echo "$muto_file: cannot be read" >&2; exit 126; }',
  "shift",
  "muto_left=$((muto_left - 1))",
  "muto_source",
  "done",
  "unset muto_file muto_left",
  "unset -f muto_source",
  'exec "$@"',
].join("\n");

/** What is executed: argv, then launch arguments in the order of their names, after the setup files where there are any. */
export function nativeCommand(
  archiveFolder: string,
  workload: NativeWorkload,
  paramsFolder: string | undefined,
): NativeCommand {
  const launched = Object.entries(workload.launchArguments).toSorted(byName);
  const [name = "", ...args] = [...workload.argv, ...launched.map(([key, value]) => `${key}:=${value}`)].map((text) =>
    withParams(text, paramsFolder),
  );
  const env = Object.values(workload.env);
  // No argument or variable of a process can hold it.
  if ([name, ...args, ...env, ...workload.setup].some((text) => text.includes("\0")))
    return { ok: false, code: "EINVAL" };
  const { setup } = workload;
  if (setup.length === 0) {
    const program = programPath(archiveFolder, name);
    return program === undefined ? { ok: false, code: "PROGRAM_OUTSIDE_ARCHIVE" } : { ok: true, program, args };
  }
  const files = setup.map((path) => pathFromArchive(archiveFolder, path));
  const wanted = name.includes(sep) ? pathFromArchive(archiveFolder, name) : name;
  if (wanted === undefined || name === "") return { ok: false, code: "PROGRAM_OUTSIDE_ARCHIVE" };
  const known = files.filter((file) => file !== undefined);
  if (known.length < files.length) return { ok: false, code: "SETUP_OUTSIDE_ARCHIVE" };
  const shell = setup.some((path) => path.endsWith(".bash")) ? "/bin/bash" : "/bin/sh";
  return {
    ok: true,
    program: shell,
    args: ["-c", SETUP_SCRIPT, shell, String(known.length), ...known, wanted, ...args],
  };
}

/** As seen from the archive, which is the working directory wherever it is shown: `./…`, or an absolute path as it is. */
function pathFromArchive(archiveFolder: string, path: string): string | undefined {
  if (path.startsWith(sep)) return normalize(path);
  const inside = programPath(archiveFolder, path);
  return inside === undefined ? undefined : `.${inside.slice(archiveFolder.length)}`;
}

function withParams(text: string, folder: string | undefined): string {
  if (folder === undefined) return text;
  return text.replaceAll(PARAMS_REFERENCE, (_whole, name: string) => `${folder}/${name}`);
}

const PARAMS_REFERENCE = /\$\(params ([a-z0-9][a-z0-9._-]{0,62})\)/g;

/** Absolute path of the program; undefined when a relative one leaves the archive's folder. */
export function programPath(archiveFolder: string, program: string): string | undefined {
  if (program.startsWith(sep)) return normalize(program);
  const path = join(archiveFolder, program);
  return path.startsWith(`${archiveFolder}${sep}`) ? path : undefined;
}

export function rosEnvironment({ ros }: StackManifest): Record<string, string> {
  return {
    ...(ros.distro === undefined ? {} : { ROS_DISTRO: ros.distro }),
    ...(ros.domainId === undefined ? {} : { ROS_DOMAIN_ID: String(ros.domainId) }),
    ...(ros.rmw === undefined ? {} : { RMW_IMPLEMENTATION: ros.rmw }),
  };
}

function pick(host: HostEnvironment): Record<string, string> {
  return Object.fromEntries(HOST_VARIABLES.flatMap((name) => (host[name] === undefined ? [] : [[name, host[name]]])));
}

function byName([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

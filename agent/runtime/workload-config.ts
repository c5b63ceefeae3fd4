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
}

/** Variables that say what a process belongs to, to itself and to an agent that finds nothing else about it. */
export const IDENTITY_MARKS = { set: "MUTO_SET", workload: "MUTO_WORKLOAD", configHash: "MUTO_CONFIG_HASH" } as const;

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `sha256:…` over all that decides what the process is and how it is stopped; equal for equal configurations, whatever the order of keys. */
export function workloadConfigHash(manifest: StackManifest, workload: NativeWorkload): string {
  const { archive, argv, stop } = workload;
  const environment = Object.entries({ ...rosEnvironment(manifest), ...workload.env }).toSorted(byName);
  const configuration = JSON.stringify([archive, argv, environment, stop.signal, stop.limitSec]);
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
    MUTO_INSTANCE: marks.instanceId,
    [IDENTITY_MARKS.set]: marks.set,
    [IDENTITY_MARKS.workload]: workload.name,
    [IDENTITY_MARKS.configHash]: workloadConfigHash(manifest, workload),
  };
}

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

import type { StackManifest } from "@muto/spec";

/** What a vehicle's own configuration must grant before a stack can run there, in the words of that configuration. */
export interface StackNeeds {
  /** An adapter for native workloads. */
  readonly native: boolean;
  /** A container engine (`runtime.oci`). */
  readonly engine: boolean;
  /** Entries of `runtime.allow`. */
  readonly devices: readonly string[];
  readonly mounts: readonly string[];
  readonly writable: readonly string[];
  readonly capabilities: readonly string[];
  readonly privileged: boolean;
  readonly gpus: boolean;
  readonly hostNetwork: boolean;
  readonly hostIpc: boolean;
  /** Containers that run as root, or as whoever their image says. */
  readonly rootUser: readonly string[];
}

export function stackNeeds({ workloads }: StackManifest): StackNeeds {
  const containers = workloads.filter((workload) => workload.type === "oci");
  const mounts = containers.flatMap((workload) => workload.mounts);
  return {
    native: workloads.some(({ type }) => type === "native"),
    engine: containers.length > 0,
    devices: distinct(containers.flatMap(({ devices }) => devices.map(({ path }) => path))),
    // What may be written may be read as well, so it is named once.
    mounts: distinct(mounts.flatMap(({ source, readOnly }) => (readOnly ? [source] : []))),
    writable: distinct(mounts.flatMap(({ source, readOnly }) => (readOnly ? [] : [source]))),
    capabilities: distinct(containers.flatMap(({ capabilities }) => capabilities)),
    privileged: containers.some(({ privileged }) => privileged),
    gpus: workloads.some(({ gpus }) => gpus === "all"),
    hostNetwork: containers.some(({ network }) => network === "host"),
    hostIpc: containers.some(({ ipc }) => ipc === "host"),
    rootUser: containers.flatMap(({ name, user }) => (user === undefined || /^0+(:|$)/.test(user) ? [name] : [])),
  };
}

/** One line for each thing, with the key of the vehicle's configuration. */
export function needsText(needs: StackNeeds): string {
  const allow = (key: string, values: readonly string[]) =>
    values.length === 0 ? [] : [`  runtime.allow.${key}: [${values.join(", ")}]`];
  const grant = (key: string, wanted: boolean, note = "") =>
    wanted ? [`  runtime.allow.${key}: true${note === "" ? "" : `   (${note})`}`] : [];
  const lines = [
    ...(needs.engine ? ["  runtime.oci: {}   (a container engine)"] : []),
    ...allow("devices", needs.devices),
    ...allow("mounts", needs.mounts),
    ...allow("writable", needs.writable),
    ...allow("capabilities", needs.capabilities),
    ...grant("privileged", needs.privileged),
    ...grant("gpus", needs.gpus),
    ...grant("hostNetwork", needs.hostNetwork, "the default"),
    ...grant("hostIpc", needs.hostIpc, "the default"),
    ...grant("rootUser", needs.rootUser.length > 0, `the default; ${needs.rootUser.join(", ")}, unless the image says`),
  ];
  return lines.length === 0 ? "  nothing\n" : lines.map((line) => `${line}\n`).join("");
}

function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)].toSorted((a, b) => (a < b ? -1 : 1));
}

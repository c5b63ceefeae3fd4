import type { AgentConfig, AllowConfig, OciWorkload, StackManifest, Workload } from "@muto/spec";

/** One thing that a release asks of this vehicle and may not have. */
export interface VehicleRefusal {
  readonly workload: string;
  /** Names the setting that refuses it; becomes evidence. */
  readonly asked:
    | "container engine"
    | "native workloads"
    | "privileged"
    | "capability"
    | "host network"
    | "host ipc"
    | "root user"
    | "device"
    | "mount"
    | "writable mount"
    | "gpus";
}

/**
 * What the vehicle's own configuration does not give the release (`runtime.allow`). A stolen release key gets a workload onto
 * a vehicle, and no further into the computer than its owner said. Paths count after normalisation; where links lead is asked
 * again when the workload is started.
 */
export function refusedByVehicle(
  manifest: Pick<StackManifest, "workloads">,
  runtime: AgentConfig["runtime"],
): readonly VehicleRefusal[] {
  return manifest.workloads.flatMap((workload) =>
    askedInVain(workload, runtime).map((asked) => ({ workload: workload.name, asked })),
  );
}

function askedInVain(workload: Workload, runtime: AgentConfig["runtime"]): readonly VehicleRefusal["asked"][] {
  const { allow } = runtime;
  const gpus = workload.gpus === "all" && !allow.gpus ? (["gpus"] as const) : [];
  if (workload.type === "native") return runtime.adapter === "none" ? ["native workloads", ...gpus] : gpus;
  if (runtime.oci === undefined) return ["container engine"];
  return [...gpus, ...rightsInVain(workload, allow), ...pathsInVain(workload, allow)];
}

function rightsInVain(workload: OciWorkload, allow: AllowConfig): readonly VehicleRefusal["asked"][] {
  const { privileged, capabilities, network, ipc, user } = workload;
  return [
    ...(privileged && !allow.privileged ? (["privileged"] as const) : []),
    ...(capabilities.every((capability) => allow.capabilities.includes(capability)) ? [] : (["capability"] as const)),
    ...(network === "host" && !allow.hostNetwork ? (["host network"] as const) : []),
    ...(ipc === "host" && !allow.hostIpc ? (["host ipc"] as const) : []),
    // The image's own user is root unless it says otherwise, and what it says is not the vehicle's to believe.
    ...(!allow.rootUser && (user === undefined || Number.parseInt(user, 10) === 0) ? (["root user"] as const) : []),
  ];
}

function pathsInVain({ devices, mounts }: OciWorkload, allow: AllowConfig): readonly VehicleRefusal["asked"][] {
  return [
    ...(devices.every(({ path }) => isAllowedDevice(path, allow.devices)) ? [] : (["device"] as const)),
    ...(mounts.every(
      ({ source, readOnly }) => !readOnly || isAllowedFolder(source, [...allow.mounts, ...allow.writable]),
    )
      ? []
      : (["mount"] as const)),
    ...(mounts.every(({ source, readOnly }) => readOnly || isAllowedFolder(source, allow.writable))
      ? []
      : (["writable mount"] as const)),
  ];
}

/** A device by its very name, or anything below a folder that is named with a slash at its end. */
export function isAllowedDevice(path: string, allowed: readonly string[]): boolean {
  const wanted = normalPath(path);
  return (
    wanted !== undefined &&
    allowed.some((entry) => {
      const known = normalPath(entry);
      if (known === undefined) return false;
      return entry.endsWith("/") ? wanted.startsWith(`${known}/`) : wanted === known;
    })
  );
}

/** The folder itself or anything below it. */
export function isAllowedFolder(path: string, allowed: readonly string[]): boolean {
  const wanted = normalPath(path);
  if (wanted === undefined) return false;
  return allowed.some((entry) => {
    const known = normalPath(entry);
    return known !== undefined && (wanted === known || wanted.startsWith(`${known}/`));
  });
}

/** Without double slashes, single dots and a slash at the end; undefined for a path that is relative or climbs. */
function normalPath(path: string): string | undefined {
  if (!path.startsWith("/")) return undefined;
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return parts.includes("..") ? undefined : parts.map((part) => `/${part}`).join("");
}

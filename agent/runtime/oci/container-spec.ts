import { createHash } from "node:crypto";
import type { OciWorkload, StackManifest } from "@muto/spec";
import { rosEnvironment } from "../workload-config.ts";
import { labelsFor, type ContainerIdentity } from "./labels.ts";

/** Where a container finds its ROS parameter files. */
export const PARAMS_FOLDER = "/muto/params";

/** Output of one container that the engine keeps, twice at most while it turns the file over. */
const LOG_BYTES_MAX = 4 * 1024 * 1024;

const MB = 1024 * 1024;

export interface ContainerPlan {
  readonly manifest: StackManifest;
  readonly workload: OciWorkload;
  readonly identity: ContainerIdentity;
  /** Id of the loaded image: never a name, which anybody may move. */
  readonly imageId: string;
  readonly probeAddress: string;
  /** Folder on this computer with the parameter files; undefined when there are none. */
  readonly paramsFolder: string | undefined;
  /** Real paths of what is mounted and of device files, by the path that the workload names. */
  readonly realPaths: ReadonlyMap<string, string>;
}

/**
 * The body that makes the container, on Docker and Podman alike. Everything is dropped that a release was not given: all
 * capabilities, new privileges, devices, mounts. The engine never restarts it, because the agent counts restarts. Limits of
 * open files are left to the engine: some refuse a list that names one and not the others.
 */
export function containerBody(plan: ContainerPlan): Readonly<Record<string, unknown>> {
  const { workload, identity, imageId } = plan;
  const { argv, user, stop } = workload;
  const command = commandOf(workload);
  return {
    Image: imageId,
    // An argv replaces the whole command: an entry point of the image must not swallow it.
    ...(argv === undefined ? {} : { Entrypoint: [] }),
    ...(command.length === 0 ? {} : { Cmd: command }),
    Env: Object.entries(environmentOf(plan)).map(([name, value]) => `${name}=${value}`),
    Labels: labelsFor(identity),
    StopSignal: stop.signal,
    StopTimeout: stop.limitSec,
    Tty: false,
    ...(user === undefined ? {} : { User: user }),
    HostConfig: hostConfig(plan),
  };
}

function hostConfig({ workload, paramsFolder, realPaths }: ContainerPlan): Readonly<Record<string, unknown>> {
  const { network, ipc, privileged, capabilities, devices, mounts, resources, gpus } = workload;
  const real = (path: string) => realPaths.get(path) ?? path;
  const binds = [
    ...mounts.map(({ source, target, readOnly }) => `${real(source)}:${target}:${readOnly ? "ro" : "rw"}`),
    ...(paramsFolder === undefined ? [] : [`${paramsFolder}:${PARAMS_FOLDER}:ro`]),
  ];
  return {
    NetworkMode: network,
    IpcMode: ipc,
    Init: true,
    RestartPolicy: { Name: "no" },
    AutoRemove: false,
    LogConfig: { Type: "json-file", Config: { "max-size": String(LOG_BYTES_MAX) } },
    Privileged: privileged,
    CapDrop: ["ALL"],
    CapAdd: capabilities.map((capability) => `CAP_${capability}`),
    SecurityOpt: ["no-new-privileges"],
    Binds: binds,
    Tmpfs: { "/run": "size=16m", "/tmp": "size=64m" },
    Devices: devices.map(({ path, containerPath, access }) => ({
      PathOnHost: real(path),
      PathInContainer: containerPath ?? path,
      CgroupPermissions: access,
    })),
    ...(gpus === "all" ? { DeviceRequests: [{ Count: -1, Capabilities: [["gpu"]] }] } : {}),
    ...(resources.memoryMb === undefined
      ? {}
      : { Memory: resources.memoryMb * MB, MemorySwap: resources.memoryMb * MB }),
    ...(resources.cpus === undefined ? {} : { NanoCpus: Math.round(resources.cpus * 1e9) }),
    ...(resources.pids === undefined ? {} : { PidsLimit: resources.pids }),
    // Shared memory of the host has its own size; an engine refuses another one beside it.
    ...(ipc === "private" ? { ShmSize: PRIVATE_SHM_BYTES } : {}),
  };
}

/** DDS over shared memory wants more than the 64 MB that engines give. */
const PRIVATE_SHM_BYTES = 256 * MB;

/** argv, then launch arguments in the order of their names, with the one substitution that there is. */
export function commandOf({ argv = [], launchArguments }: OciWorkload): readonly string[] {
  const launched = Object.entries(launchArguments)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${name}:=${value}`);
  return [...argv, ...launched].map((text) =>
    text.replaceAll(/\$\(params ([a-z0-9][a-z0-9._-]{0,62})\)/g, (_whole, name: string) => `${PARAMS_FOLDER}/${name}`),
  );
}

function environmentOf({ manifest, workload, identity, probeAddress, paramsFolder }: ContainerPlan) {
  return {
    // What is printed must be there after a crash.
    PYTHONUNBUFFERED: "1",
    ...rosEnvironment(manifest),
    ...workload.env,
    ...(paramsFolder === undefined ? {} : { MUTO_PARAMS: PARAMS_FOLDER }),
    MUTO_PROBE_ADDRESS: probeAddress,
    MUTO_INSTANCE: identity.instanceId,
    MUTO_SET: identity.set,
    MUTO_WORKLOAD: workload.name,
    MUTO_CONFIG_HASH: identity.configHash,
  };
}

/** `sha256:…` over all that decides what the container is; equal for equal configurations, whatever the order of keys. */
export function containerConfigHash({ ros }: StackManifest, workload: OciWorkload): string {
  const { name: _name, dependsOn: _dependsOn, oneshot: _oneshot, ...decisive } = workload;
  return `sha256:${createHash("sha256")
    .update(JSON.stringify(ordered({ ros, ...decisive })))
    .digest("hex")}`;
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, item]) => [name, ordered(item)]);
}

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { engineAt } from "@muto/agent/runtime/oci/engine";
import { isAliveContainer } from "@muto/agent/runtime/oci/engine-answers";
import { identityIn } from "@muto/agent/runtime/oci/labels";
import type { AgentConfigInput, StackManifestInput } from "@muto/spec";
import type { Cloud } from "../../system/world/cloud.ts";
import { eventually } from "../../system/world/eventually.ts";
import { publishStack, releaseFolder, type Published } from "../../system/world/publish.ts";
import { layOut } from "../../system/world/stack.ts";
import { howThingsStand, type Vehicle } from "../../system/world/vehicle.ts";
import { busyboxPath, type TestEngine } from "./engines.ts";
import { PROGRAMS, tinyImage } from "./tiny-image.ts";

/** What the suite says of a stack; each stand makes it of archives or of images. */
export interface RuntimeSpec {
  readonly version: string;
  readonly name?: string;
  /** Shell script by workload name. */
  readonly programs: Readonly<Record<string, string>>;
  readonly healthModel?: Partial<StackManifestInput["healthModel"]>;
  readonly params?: readonly { readonly name: string; readonly text: string }[];
  readonly diskMbMin?: number;
  /** More of each workload's container; nothing for a native one. */
  readonly container?: Partial<Extract<StackManifestInput["workloads"][number], { type: "oci" }>>;
}

/** One way of running workloads, under test. */
export interface Stand {
  readonly name: string;
  readonly engine: TestEngine | undefined;
  /** The runtime section of a vehicle's configuration. */
  readonly runtime: NonNullable<AgentConfigInput["runtime"]>;
  publish(cloud: Cloud, spec: RuntimeSpec): Promise<Published>;
  /** What really runs for this vehicle, as kernel or engine show it. */
  running(vehicle: Vehicle): Promise<readonly Running[]>;
}

export interface Running {
  /** First process of the workload, on this computer. */
  readonly pid: number;
  readonly instanceId: string;
  readonly set: string;
  readonly workload: string;
  /** Engine's id of its container; undefined for a native one. */
  readonly container?: string;
}

export function processStand(): Stand {
  return {
    name: "process",
    engine: undefined,
    runtime: {},
    publish: async (cloud, spec) => {
      const folder = releaseFolder(cloud, spec);
      const { manifest, archive } = layOut(spec, folder);
      const folders = new Map(manifest.workloads.map(({ name }) => [name, archive]));
      return await publishStack(cloud, { manifest: withParams(manifest, spec), folders });
    },
    // A workload may have children that left its session: its first process counts.
    running: async (vehicle) => {
      const running = vehicle.running();
      return running.filter((one) =>
        running.every((other) => other.instanceId !== one.instanceId || other.pid >= one.pid),
      );
    },
  };
}

export function engineStand(engine: TestEngine): Stand {
  return {
    name: engine.name,
    engine,
    runtime: { oci: { socket: engine.socket } },
    publish: async (cloud, spec) => {
      const image = tinyImage(await busyboxPath(), spec.programs);
      const { manifest } = layOut(spec, releaseFolder(cloud, spec));
      const workloads = manifest.workloads.map(({ name, stop }) => ({
        name,
        type: "oci" as const,
        // Filled in from the image.
        image: "built",
        argv: [join(PROGRAMS, name)],
        ...(stop === undefined ? {} : { stop }),
        ...spec.container,
      }));
      const images = new Map(workloads.map(({ name }) => [name, image]));
      return await publishStack(cloud, {
        manifest: withParams({ ...manifest, workloads }, spec),
        folders: new Map(),
        images,
      });
    },
    running: async (vehicle) => await runningContainers(engine, vehicle.id),
  };
}

/** Kills the very process that a workload is, not the supervisor or init above it where there is one. */
export function killRunning({ pid }: Pick<Running, "pid">): void {
  process.kill(pid, "SIGKILL");
}

/** Waits until exactly the workloads of this set run, and returns them. */
export async function runsOn(
  stand: Stand,
  cloud: Cloud,
  vehicle: Vehicle,
  set: { readonly manifestDigest: string },
  count = 1,
): Promise<readonly Running[]> {
  return await eventually(
    `${count} workloads of ${set.manifestDigest} run on ${vehicle.id}`,
    async () => {
      const running = await stand.running(vehicle);
      return running.length === count && running.every((one) => one.set === set.manifestDigest) ? running : undefined;
    },
    {
      explain: async () => `${JSON.stringify(await stand.running(vehicle))}\n${await howThingsStand(cloud, vehicle)}`,
    },
  );
}

/** Processes of this computer that bear an instance's mark in their environment. */
export function processesOf(instanceId: string, pids: readonly number[]): readonly number[] {
  return pids.filter((pid) => environmentOf(pid).includes(`MUTO_INSTANCE=${instanceId}`));
}

function withParams(manifest: StackManifestInput, { params = [] }: RuntimeSpec): StackManifestInput {
  if (params.length === 0) return manifest;
  return { ...manifest, workloads: manifest.workloads.map((workload) => ({ ...workload, params })) };
}

async function runningContainers(engine: TestEngine, vehicleId: string): Promise<readonly Running[]> {
  using client = engineAt(engine.socket);
  const listed = await client.containers([`muto.vehicle=${vehicleId}`]);
  if (!listed.ok) return [];
  const running: Running[] = [];
  for (const { id } of listed.value) {
    const seen = await client.container(id);
    if (!seen.ok || !isAliveContainer(seen.value)) continue;
    const identity = identityIn(seen.value.labels);
    if (identity === undefined) continue;
    const { instanceId, set, workload } = identity;
    running.push({ pid: seen.value.pid, instanceId, set, workload, container: id });
  }
  return running.toSorted((a, b) => (a.workload < b.workload ? -1 : 1));
}

function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
  } catch {
    return [];
  }
}

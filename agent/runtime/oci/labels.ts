import { createHash } from "node:crypto";
import { isDigest } from "@muto/oci/digest";
import type { ContainerSeen } from "./engine-answers.ts";

/** What a container says about itself. The engine keeps it, so that an agent that knows nothing finds everything again. */
export interface ContainerIdentity {
  readonly vehicleId: string;
  readonly instanceId: string;
  /** Manifest digest. */
  readonly set: string;
  readonly workload: string;
  readonly configHash: string;
  readonly bootId: string;
  readonly startedAtMs: number;
  readonly stop: { readonly signal: string; readonly limitMs: number };
}

export const LABELS = {
  vehicle: "muto.vehicle",
  instance: "muto.instance",
  set: "muto.set",
  workload: "muto.workload",
  configHash: "muto.confighash",
  boot: "muto.boot",
  started: "muto.started",
  /** Signal and seconds; what an engine says of them differs between engines. */
  stop: "muto.stop",
} as const;

const INSTANCE_ID = /^[0-9A-Za-z_-]{1,64}$/;
const WORKLOAD = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const BOOT = /^[0-9a-f-]{36}$/;

export function labelsFor(identity: ContainerIdentity): Readonly<Record<string, string>> {
  return {
    [LABELS.vehicle]: identity.vehicleId,
    [LABELS.instance]: identity.instanceId,
    [LABELS.set]: identity.set,
    [LABELS.workload]: identity.workload,
    [LABELS.configHash]: identity.configHash,
    [LABELS.boot]: identity.bootId,
    [LABELS.started]: String(identity.startedAtMs),
    [LABELS.stop]: `${identity.stop.signal} ${identity.stop.limitMs / 1000}`,
  };
}

/** Undefined when the labels are not such as we write. */
export function identityIn(labels: Readonly<Record<string, string>>): ContainerIdentity | undefined {
  const read = (name: keyof typeof LABELS) => labels[LABELS[name]] ?? "";
  const [instanceId, set, workload, configHash] = [read("instance"), read("set"), read("workload"), read("configHash")];
  const startedAtMs = Number(read("started"));
  if (!INSTANCE_ID.test(instanceId) || !isDigest(set) || !WORKLOAD.test(workload) || !isDigest(configHash))
    return undefined;
  if (!BOOT.test(read("boot")) || !Number.isSafeInteger(startedAtMs) || startedAtMs < 0) return undefined;
  const [, signal, limitSec] = /^(SIGINT|SIGTERM) (\d{1,4})$/.exec(read("stop")) ?? [];
  if (signal === undefined) return undefined;
  const stop = { signal, limitMs: Number(limitSec) * 1000 };
  return { vehicleId: read("vehicle"), instanceId, set, workload, configHash, bootId: read("boot"), startedAtMs, stop };
}

export function containerName({ vehicleId, instanceId }: Pick<ContainerIdentity, "vehicleId" | "instanceId">): string {
  return `muto-${vehicleId}-${instanceId}`;
}

/**
 * A container that we were asked to stop takes this name first. So the engine itself remembers, across any crash of the agent
 * and without a byte on the vehicle's disk, that the end that follows was wanted.
 */
export function stoppedName(identity: Pick<ContainerIdentity, "vehicleId" | "instanceId">): string {
  return `${containerName(identity)}-stopped`;
}

/**
 * Somebody else's container that bears our labels belongs to no set: it gets a digest that no release can have, so that it is
 * stopped as an extra and never taken for the workload that it claims to be.
 */
export function impostorSet({ id }: Pick<ContainerSeen, "id">): string {
  return `sha256:${createHash("sha256").update(`impostor ${id}`).digest("hex")}`;
}

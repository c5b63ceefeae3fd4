import type { Probe, StackManifest } from "@muto/spec";
import type { Instance, Prober, ProbeSeen } from "../ports.ts";
import { NO_UPKEEP, type Upkeep } from "../reconcile/observed.ts";
import { addLook, excusedProbes } from "../reconcile/readiness.ts";
import type { ProbeBefore } from "../reconcile/state.ts";
import { addUpkeep, keptUpSet } from "../reconcile/upkeep.ts";
import type { StepOf } from "../reconcile/step.ts";
import type { Memory } from "../memory.ts";
import type { AgentServices } from "../services.ts";
import type { Releases } from "./releases.ts";

export interface ProbeServices extends Pick<AgentServices, "prober" | "runtime" | "clock" | "store"> {
  readonly memory: Memory;
  readonly releases: Releases;
}

/** No look at a probe takes longer; what cannot be seen by then is not met. */
const LOOK_MS_MAX = 3_000;

/** Looks once at every probe of the set, all at the same time. */
export async function probe(services: ProbeServices, { set }: StepOf<"probe">, signal: AbortSignal): Promise<void> {
  const release = await services.releases.get(set.manifestDigest);
  if (release === undefined) return;
  const { manifest } = release;
  const instances = await services.runtime.inspect();
  const results = await lookAtAll(services, manifest.healthModel.probes, instances, set.manifestDigest, signal);
  const isUp = manifest.workloads.every((workload) =>
    instances.some((instance) => {
      if (instance.set !== set.manifestDigest || instance.workload !== workload.name) return false;
      return instance.state.kind === "running" || (workload.oneshot && instance.state.code === 0);
    }),
  );
  const excused = excusedProbes(services.store.state.rollback?.before ?? []);
  const atMs = services.clock.monotonicMs();
  services.memory.update((seen) => ({
    probes: addLook(seen.probes, { set: set.manifestDigest, atMs, isUp, excused, results }),
    upkeep: upkeepAfter(seen.upkeep, services, set.manifestDigest, manifest, results),
  }));
}

/** Only a set that became ready has something to keep up. */
function upkeepAfter(
  before: Upkeep,
  { clock, store }: ProbeServices,
  set: string,
  manifest: StackManifest,
  results: readonly Looked[],
): Upkeep {
  const { state } = store;
  if (keptUpSet(state) !== set) return NO_UPKEEP;
  return addUpkeep(before, {
    set,
    atMs: clock.monotonicMs(),
    atWallMs: clock.wallMs(),
    wasReady: state.trial !== null,
    readinessTimeoutSec: manifest.healthModel.readinessTimeoutSec,
    results: results.map(({ probe: { name, kind }, last }) => ({ name, kind, seen: last })),
  });
}

/** What the running stack's own probes show just before it is stopped (H23). */
export async function lookBefore(services: ProbeServices, signal: AbortSignal): Promise<readonly ProbeBefore[]> {
  const { active } = services.store.state;
  const release = active === null ? undefined : await services.releases.get(active.manifestDigest);
  if (active === null || release === undefined) return [];
  const instances = await services.runtime.inspect();
  const { probes } = release.manifest.healthModel;
  const results = await lookAtAll(services, probes, instances, active.manifestDigest, signal);
  return results.map(({ probe: { name }, last }) => ({ probe: name, met: last.met }));
}

interface Looked {
  readonly probe: Probe;
  readonly instanceId: string | null;
  readonly last: ProbeSeen;
}

async function lookAtAll(
  { prober, clock }: { readonly prober: Prober; readonly clock: AgentServices["clock"] },
  probes: readonly Probe[],
  instances: readonly Instance[],
  set: string,
  signal: AbortSignal,
): Promise<readonly Looked[]> {
  const done = new AbortController();
  const late = new AbortController();
  void clock.sleep(LOOK_MS_MAX, done.signal).then(() => late.abort());
  const both = AbortSignal.any([signal, late.signal]);
  try {
    return await Promise.all(
      probes.map(async (one) => {
        const instance = instanceFor(instances, set, one.workload);
        const last = await prober.look(one, instance, both);
        return { probe: one, instanceId: instance?.instanceId ?? null, last };
      }),
    );
  } finally {
    done.abort();
  }
}

/** The running instance of the workload, else the newest ended one (a oneshot that is done). */
function instanceFor(instances: readonly Instance[], set: string, workload: string): Instance | undefined {
  const own = instances.filter((instance) => instance.set === set && instance.workload === workload);
  return (
    own.find((instance) => instance.state.kind === "running") ??
    own.toSorted((a, b) => a.startedAtMs - b.startedAtMs).at(-1)
  );
}

import type { HealthReport } from "@muto/spec";
import { gateContext, type ObserveServices } from "./observe.ts";
import { snapshotOf } from "./safety/snapshot.ts";
import type { Observed } from "./reconcile/observed.ts";
import { driftOf } from "./reconcile/drift.ts";
import { readingsOf } from "./reconcile/readings.ts";
import { stackRef } from "./reconcile/report.ts";
import { isChanging, selectedSet } from "./reconcile/state.ts";
import { isTargetVerified } from "./reconcile/verified.ts";
import { isMet, probesOf, runningOf, workloadState } from "./reconcile/workloads.ts";

/** A health report without who says it, when and in which version. */
export type HealthView = Omit<HealthReport, "kind" | "vehicleId" | "installId" | "at" | "agentVersion" | "facts">;

/** Read for one heartbeat, from the same observation as a pass. */
export async function healthOf(services: ObserveServices, observed: Observed): Promise<HealthView> {
  const { state } = observed;
  const selected = selectedSet(state);
  const isRunning = runningOf(observed, (instance) => instance.set === selected?.manifestDigest).length > 0;
  const samples = await services.signals.read();
  const drift = driftOf(observed);
  const freeBytes = await services.sets.freeBytes().catch(() => 0);
  return {
    bootId: services.bootId,
    stack: selected === null || !isRunning ? null : stackRef(selected),
    desiredStateRevision: state.accepted?.assignment.desiredStateRevision ?? null,
    rollbackReady: isTargetVerified(observed),
    volatile: observed.storage === "faulted",
    changeInProgress: isChanging(state) || observed.seen.announced !== null,
    safetySnapshot: snapshotOf(gateContext(services, samples, observed, "switch")),
    diskFreeMb: Math.floor(freeBytes / 1_000_000),
    workloads: workloadsOf(observed),
    probes: readingsOf(observed),
    ...(drift !== undefined && { drift }),
  };
}

function workloadsOf(observed: Observed): HealthView["workloads"] {
  const selected = selectedSet(observed.state);
  const manifest = observed.releases.get(selected?.manifestDigest ?? "")?.manifest;
  if (selected === null || manifest === undefined) return [];
  const digest = selected.manifestDigest;
  return manifest.workloads.map((workload): HealthView["workloads"][number] => {
    const state = workloadState(observed, digest, workload);
    const restarts = observed.state.exits.filter(
      (exit) => exit.set === digest && exit.workload === workload.name,
    ).length;
    const { name } = workload;
    if (state.kind === "completed") return { name, state: "completed", restarts };
    if (state.kind === "dead") {
      const stopped = state.instance?.state.kind === "ended" && state.instance.state.requested;
      return { name, state: stopped ? "stopped" : "exited", restarts };
    }
    const { isolation, state: process } = state.instance;
    if (process.kind === "running" && !process.supervised) return { name, state: "unsupervised", restarts, isolation };
    const probes = probesOf(manifest, name);
    const isReady = probes.length > 0 && probes.every((probe) => isMet(observed, digest, probe, state.instance));
    return { name, state: isReady ? "ready" : "running", restarts, isolation };
  });
}

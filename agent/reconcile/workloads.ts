import type { Probe, StackManifest, Workload, WorkloadEvidence } from "@muto/spec";
import type { Instance } from "../ports.ts";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { elapsedMs, type ExitNote, type SetRef } from "./state.ts";

/**
 * running    under supervision, or seen alive without its supervisor
 * completed  a oneshot that ended with 0 in this boot
 * dead       should run and does not; `instance` is what is left of it, when anything is
 */
export type WorkloadState =
  | { readonly kind: "running"; readonly instance: Instance }
  | { readonly kind: "completed"; readonly instance: Instance }
  | { readonly kind: "dead"; readonly instance: Instance | undefined };

export function workloadState(observed: Observed, set: string, workload: Workload): WorkloadState {
  const own = observed.instances.filter((instance) => instance.set === set && instance.workload === workload.name);
  const running = own.find((instance) => instance.state.kind === "running");
  if (running !== undefined) return { kind: "running", instance: running };
  const last = own.toSorted((a, b) => a.startedAtMs - b.startedAtMs || (a.instanceId < b.instanceId ? -1 : 1)).at(-1);
  const state = last?.state;
  const inThisBoot = last?.bootId === observed.now.bootId;
  if (last !== undefined && state?.kind === "ended" && inThisBoot && workload.oneshot && state.code === 0) {
    return { kind: "completed", instance: last };
  }
  return { kind: "dead", instance: last };
}

export function isUp(observed: Observed, set: string, manifest: StackManifest): boolean {
  return manifest.workloads.every((workload) => workloadState(observed, set, workload).kind !== "dead");
}

export function runningOf(observed: Observed, isWanted: (instance: Instance) => boolean): readonly Instance[] {
  return observed.instances.filter((instance) => instance.state.kind === "running" && isWanted(instance));
}

/**
 * The first unexpected end that has not been counted yet. Ends that a stop of ours asked for, that came with a restart of the
 * computer or of the container engine, or that a oneshot reached with 0, are no crash.
 */
export function uncountedExit(observed: Observed, set: string, manifest: StackManifest): ExitNote | undefined {
  for (const instance of observed.instances) {
    if (instance.set !== set) continue;
    const deaths = uncountedDeaths(observed, instance, manifest);
    if (deaths !== undefined) return deaths;
    if (instance.state.kind !== "ended" || instance.state.requested) continue;
    if (instance.state.byOutage === true) continue;
    if (instance.bootId !== observed.now.bootId) continue;
    const workload = manifest.workloads.find(({ name }) => name === instance.workload);
    if (workload === undefined || (workload.oneshot && instance.state.code === 0)) continue;
    const { instanceId } = instance;
    if (observed.state.exits.some((exit) => exit.instanceId === instanceId && exit.deaths === undefined)) continue;
    const { code, signal } = instance.state;
    return { instanceId, set, workload: instance.workload, at: observed.now, code, signal };
  }
  return undefined;
}

/**
 * `ros2 launch` stays up and exits with 0 whatever its nodes do: what it says of their deaths counts as so many unexpected
 * ends. What dies together with the launcher counts as that one end. A storm that is named already is not noted at each pass.
 */
function uncountedDeaths(observed: Observed, instance: Instance, manifest: StackManifest): ExitNote | undefined {
  const { instanceId, set, workload, deaths: total = 0 } = instance;
  if (instance.state.kind !== "running" || !manifest.workloads.some(({ name }) => name === workload)) return undefined;
  const last = observed.state.exits.findLast((exit) => exit.instanceId === instanceId && exit.deaths !== undefined);
  const added = total - (last?.deaths?.total ?? 0);
  if (added <= 0) return undefined;
  const { maxRestarts, windowSec } = manifest.healthModel;
  const isStorm = crashes(exitsInWindow(observed, set, workload, windowSec)) > maxRestarts;
  const lastMs = last === undefined ? null : elapsedMs(observed.now, last.at);
  if (isStorm && lastMs !== null && lastMs < LIMITS.stormNoteMs) return undefined;
  return { instanceId, set, workload, at: observed.now, code: null, signal: null, deaths: { added, total } };
}

/** Of each instance: the deaths of its nodes, and its own end where none was counted before it. */
function crashes(notes: readonly ExitNote[]): number {
  const ofInstances = Map.groupBy(notes, ({ instanceId }) => instanceId);
  return [...ofInstances.values()].reduce((sum, own) => {
    return (
      sum +
      Math.max(
        1,
        own.reduce((deaths, note) => deaths + (note.deaths?.added ?? 0), 0),
      )
    );
  }, 0);
}

/** Ends counted within the release's own window, newest last; ends of earlier boots are not comparable and do not count. */
function exitsInWindow(observed: Observed, set: string, workload: string, windowSec: number): readonly ExitNote[] {
  return observed.state.exits.filter((exit) => {
    if (exit.set !== set || exit.workload !== workload) return false;
    const ageMs = elapsedMs(observed.now, exit.at);
    return ageMs !== null && ageMs <= windowSec * 1000;
  });
}

/** CRASH_LOOP_DETECTED: more than `maxRestarts` ends of one workload, or deaths of its nodes, within `windowSec`. */
export function crashLoop(observed: Observed, set: string, manifest: StackManifest): WorkloadEvidence | undefined {
  const { maxRestarts, windowSec } = manifest.healthModel;
  for (const { name } of manifest.workloads) {
    const exits = exitsInWindow(observed, set, name, windowSec);
    const last = exits.at(-1);
    if (last === undefined || crashes(exits) <= maxRestarts) continue;
    return {
      kind: "workload",
      reasonCode: "CRASH_LOOP_DETECTED",
      workload: name,
      problem: exitProblem(last),
      exitCode: last.code,
      signal: last.signal,
      exits: crashes(exits),
      windowSec,
    };
  }
  return undefined;
}

function exitProblem(exit: Pick<ExitNote, "code" | "signal" | "deaths" | "hung">): WorkloadEvidence["problem"] {
  if (exit.hung === true) return "hung";
  // Its nodes died one by one; how the launcher would have ended is not known, and not the point.
  if (exit.deaths !== undefined) return "exited";
  if (exit.signal !== null) return "killed";
  return exit.code === null ? "lost" : "exited";
}

export type NextStart =
  | { readonly kind: "start"; readonly workload: Workload }
  /** Dead, and its back-off is not over. */
  | { readonly kind: "wait"; readonly afterMs: number }
  /** Dead, and what it depends on is not ready; `probes` says whether a look would help. */
  | { readonly kind: "blocked" }
  | { readonly kind: "none" };

/** What to start next, in the order of the manifest and of its dependencies. */
export function nextStart(observed: Observed, set: SetRef, manifest: StackManifest): NextStart {
  let afterMs: number | undefined;
  let blocked = false;
  for (const workload of manifest.workloads) {
    const state = workloadState(observed, set.manifestDigest, workload);
    if (state.kind !== "dead") continue;
    if (!dependenciesMet(observed, set.manifestDigest, manifest, workload)) {
      blocked = true;
      continue;
    }
    const waitMs = restartWaitMs(observed, set.manifestDigest, workload.name, manifest);
    if (waitMs <= 0) return { kind: "start", workload };
    afterMs = Math.min(afterMs ?? waitMs, waitMs);
  }
  if (afterMs !== undefined) return { kind: "wait", afterMs };
  return { kind: blocked ? "blocked" : "none" };
}

function dependenciesMet(observed: Observed, set: string, manifest: StackManifest, workload: Workload): boolean {
  return workload.dependsOn.every(({ workload: name, condition }) => {
    const dependency = manifest.workloads.find((candidate) => candidate.name === name);
    if (dependency === undefined) return false;
    const state = workloadState(observed, set, dependency);
    if (state.kind === "dead") return false;
    if (condition === "started" || state.kind === "completed") return true;
    return (
      !dependency.oneshot && probesOf(manifest, name).every((probe) => isMet(observed, set, probe, state.instance))
    );
  });
}

export function probesOf(manifest: StackManifest, workload: string): readonly Probe[] {
  return manifest.healthModel.probes.filter((probe) => probe.workload === workload);
}

/** Whether the last look at this very instance saw the probe met. */
export function isMet(observed: Observed, set: string, probe: Probe, instance: Instance | undefined): boolean {
  const { probes } = observed.seen;
  const sighting = probes.set === set ? probes.byName.get(probe.name) : undefined;
  return sighting !== undefined && sighting.last.met && sighting.instanceId === (instance?.instanceId ?? null);
}

function restartWaitMs(observed: Observed, set: string, workload: string, manifest: StackManifest): number {
  const { now, seen } = observed;
  const trouble = seen.starts.get(workload);
  const troubleMs = trouble?.subject === set ? trouble.retryAtMs - now.monotonicMs : 0;
  const exits = exitsInWindow(observed, set, workload, manifest.healthModel.windowSec);
  const last = exits.at(-1);
  if (last === undefined) return troubleMs;
  const delayMs = Math.min(LIMITS.restartMsMax, LIMITS.restartBaseMs * 2 ** Math.min(exits.length - 1, 16));
  return Math.max(troubleMs, delayMs - (elapsedMs(now, last.at) ?? delayMs));
}

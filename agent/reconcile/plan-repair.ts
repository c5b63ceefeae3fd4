import type { StackManifest } from "@muto/spec";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { unhangStep } from "./plan-trial.ts";
import { preparationOf } from "./preparing.ts";
import { hangingInstance, isLookDue, isReadyNow, lookIntervalMs } from "./readiness.ts";
import { isBarred, type AgentState, type Cause, type Outcome, type Rollback, type SetRef } from "./state.ts";
import type { RepairAct, Step } from "./step.ts";
import { stopsOf } from "./stopping.ts";
import { crashLoop, isUp, nextStart, runningOf, uncountedExit } from "./workloads.ts";

/**
 * What runs against what should run, when no change is under way. Without a gate it does one thing only: start dead
 * workloads of the active set (H3). Everything that stops something, or starts other software, asks the gates (H4).
 */
export function planRepair(observed: Observed): readonly Step[] {
  const { state } = observed;
  const active = state.active;
  const extras = runningOf(observed, (instance) => instance.set !== active?.manifestDigest);
  const stopExtra = extras.length === 0 ? [] : [extraStep(observed, extras)];
  if (active === null) return stopExtra;
  const manifest = observed.releases.get(active.manifestDigest)?.manifest;
  if (manifest === undefined) return stopExtra;
  return [...planActive(active, manifest, observed, extras.length > 0), ...stopExtra];
}

function planActive(active: SetRef, manifest: StackManifest, observed: Observed, hasExtras: boolean): readonly Step[] {
  const { state } = observed;
  const digest = active.manifestDigest;
  const exit = uncountedExit(observed, digest, manifest);
  if (exit !== undefined) return [repair({ do: "note", exit })];
  const loop = crashLoop(observed, digest, manifest);
  if (loop !== undefined) {
    const cause: Cause = { reasonCodes: ["CRASH_LOOP_DETECTED"], evidence: [loop] };
    const step = planCrashLoop(active, cause, observed);
    if (step !== undefined) return [step];
  }
  if (isRecovered(state, loop !== undefined, isReadyNow(observed, digest, manifest))) {
    return [repair({ do: "record", record: { kind: "recovered", atMs: observed.now.wallMs } })];
  }
  const next = nextStart(observed, active, manifest);
  const mending = next.kind === "none" ? undefined : mendingStep(active, observed);
  if (mending !== undefined) return [mending];
  // Two sets never run at once: nothing is started beside a set that is not selected, unless both already run.
  const alone = !hasExtras || runningOf(observed, (instance) => instance.set === digest).length > 0;
  if (next.kind === "start" && alone) return [repair({ do: "start", set: active, workload: next.workload.name })];
  const lookMs = lookIntervalMs(observed, digest, manifest, next.kind === "blocked");
  if (lookMs !== undefined && isLookDue(observed, digest, lookMs)) return [{ kind: "probe", set: active }];
  const hanging = hangingInstance(observed, digest, manifest);
  if (hanging !== undefined) return [unhangStep(observed, hanging)];
  const unready = unreadyInstance(active, manifest, observed);
  if (unready === undefined) return [];
  const { instanceId, set, workload } = unready;
  return [{ kind: "restart", gate: "stop", act: { do: "stop", instanceId, set, workload } }];
}

/** A set whose files are damaged cannot start; it is prepared again, whatever else is wanted, from what the cache still has. */
function mendingStep(active: SetRef, observed: Observed): Step | undefined {
  const known = observed.releases.get(active.manifestDigest);
  const [first] = known === undefined ? [] : (preparationOf(active, known, observed) ?? []);
  return first?.kind === "hold" ? undefined : first;
}

/**
 * A committed set that crash-loops goes back to the one before it, even weeks later. When there is none, it is itself the
 * last known good: it is named and restarted for ever.
 */
function planCrashLoop(active: SetRef, cause: Cause, observed: Observed): Step | undefined {
  const { state, now } = observed;
  const to = returnTarget(observed);
  const attempt = state.outcome?.attempt ?? 1;
  const { desiredStateRevision, sequence } = active;
  const common = { from: active, cause, attempt, desiredStateRevision, sequence };
  if (to === null) {
    // What an earlier change ended with does not say that this set fails now.
    const { outcome: known } = state;
    if (known?.kind === "failed" && known.to?.manifestDigest === active.manifestDigest) return undefined;
    const outcome: Outcome = { ...common, kind: "failed", to: active, atMs: now.wallMs };
    return repair({ do: "record", record: { kind: "stranded", outcome } });
  }
  const rollback: Rollback = {
    ...common,
    changeId: observed.nextChangeId,
    to,
    phase: "pending",
    wasReady: true,
    begun: now,
    since: now,
    before: [],
  };
  return { kind: "rollback", gate: "none", act: { do: "fail", record: { kind: "rollback-begun", rollback } } };
}

/** What a committed set that fails may go back to: prepared, whole as far as anybody knows, and not itself a failure. */
function returnTarget(observed: Observed): SetRef | null {
  const { state, releases, seen } = observed;
  const { previous } = state;
  if (previous === null || isBarred(state, previous.manifestDigest)) return null;
  if (seen.damaged.has(previous.manifestDigest)) return null;
  return releases.get(previous.manifestDigest)?.prepared === true ? previous : null;
}

function isRecovered(state: AgentState, isLooping: boolean, isReady: boolean): boolean {
  const { outcome, active } = state;
  if (outcome?.kind !== "failed" || active === null || isLooping || !isReady) return false;
  return outcome.to?.manifestDigest === active.manifestDigest;
}

/** The good set came back from a failed rollback, runs, and does not become ready: it is restarted now and then. */
function unreadyInstance(
  active: SetRef,
  manifest: StackManifest,
  observed: Observed,
): Observed["instances"][number] | undefined {
  const { outcome } = observed.state;
  if (outcome?.kind !== "failed" || outcome.to?.manifestDigest !== active.manifestDigest) return undefined;
  const digest = active.manifestDigest;
  if (!isUp(observed, digest, manifest) || isReadyNow(observed, digest, manifest)) return undefined;
  const { probes } = observed.seen;
  const unmet = manifest.healthModel.probes.find((probe) => probes.byName.get(probe.name)?.last.met === false);
  const unmetSinceMs = probes.byName.get(unmet?.name ?? "")?.unmetSinceMs ?? null;
  if (unmetSinceMs === null || probes.lookedMs - unmetSinceMs < LIMITS.unreadyRestartMs) return undefined;
  return runningOf(observed, (instance) => instance.set === digest && instance.workload === unmet?.workload)[0];
}

function extraStep(observed: Observed, extras: Observed["instances"]): Step {
  const act = stopsOf(observed, extras);
  if (act.do !== "stop") throw new Error("an extra can only be stopped");
  const { instanceId, set, workload } = act;
  return { kind: "clean", gate: "stop", act: { do: "stop-extra", instanceId, set, workload } };
}

function repair(act: RepairAct): Step {
  return { kind: "restart", gate: "none", act };
}

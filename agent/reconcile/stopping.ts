import type { WorkloadEvidence } from "@muto/spec";
import type { Instance } from "../ports.ts";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import type { ChangeAct } from "./step.ts";

/** Stops one instance, the youngest first: what was started last depends on what was started before. */
export function stopsOf(observed: Observed, running: readonly Instance[]): ChangeAct {
  const tries = ({ instanceId }: Instance) => observed.seen.stops.get(instanceId)?.attempts ?? 0;
  const ordered = running.toSorted(
    (a, b) => tries(a) - tries(b) || b.startedAtMs - a.startedAtMs || (a.instanceId < b.instanceId ? 1 : -1),
  );
  const first = ordered[0];
  if (first === undefined) throw new Error("there is nothing to stop");
  return { do: "stop", instanceId: first.instanceId, set: first.set, workload: first.workload };
}

/** An instance that outlived SIGKILL in several tries: a process stuck in the kernel. */
export function stopTrouble(observed: Observed, running: readonly Instance[]): WorkloadEvidence | undefined {
  const stuck = running.find(
    ({ instanceId }) => (observed.seen.stops.get(instanceId)?.attempts ?? 0) >= LIMITS.stopTriesMax,
  );
  if (stuck === undefined) return undefined;
  return {
    kind: "workload",
    reasonCode: "APPLY_FAILED",
    workload: stuck.workload,
    problem: "stop-timeout",
    exits: 0,
    windowSec: 0,
  };
}

/** Milliseconds until the next try of a stop may be made; 0 when now. */
export function stopWaitMs(observed: Observed, running: readonly Instance[]): number {
  const waits = running.map(({ instanceId }) => observed.seen.stops.get(instanceId)?.retryAtMs ?? 0);
  return waits.length === 0 ? 0 : Math.max(0, Math.min(...waits) - observed.now.monotonicMs);
}

/** Proof, left by the supervisors, that a stop of ours ended something in this boot. */
export function wasStopRequested(observed: Observed, isWanted: (set: string) => boolean): boolean {
  return observed.instances.some(
    ({ set, bootId, state }) =>
      bootId === observed.now.bootId && state.kind === "ended" && state.requested && isWanted(set),
  );
}

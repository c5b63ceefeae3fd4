import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { isLookDue } from "./readiness.ts";
import { runningOf, nextStart } from "./workloads.ts";
import { selectedSet, type SetRef } from "./state.ts";
import type { Step } from "./step.ts";

/**
 * After a storage fault nothing can be decided durably: no change begins or ends, the selected set is kept running and its
 * dead workloads are restarted. A stop that had begun is carried to its end, because half a stack is worse than either.
 */
export function planBringUp(observed: Observed): readonly Step[] {
  const { state } = observed;
  const selected = selectedSet(state);
  const steps: Step[] = [];
  if (isStopping(observed)) steps.push(...stopOthers(observed, selected));
  const release = selected === null ? undefined : observed.releases.get(selected.manifestDigest);
  const others = runningOf(observed, (instance) => instance.set !== selected?.manifestDigest);
  if (selected !== null && release !== undefined && others.length === 0) {
    const next = nextStart(observed, selected, release.manifest);
    if (next.kind === "start") {
      steps.push({
        kind: "restart",
        gate: "none",
        act: { do: "start", set: selected, workload: next.workload.name },
      });
    }
    if (next.kind === "blocked" && isLookDue(observed, selected.manifestDigest, LIMITS.probeIntervalMs)) {
      steps.push({ kind: "probe", set: selected });
    }
  }
  return [...steps, storageHold()];
}

/** This process has begun to stop the old stack, or the state says that nothing of it should run any more. */
function isStopping({ state, seen }: Observed): boolean {
  if (state.rollback !== null) return state.rollback.phase !== "pending";
  if (state.trial === null) return false;
  return state.trial.phase !== "stopping" || seen.stopping === state.trial.changeId;
}

function stopOthers(observed: Observed, selected: SetRef | null): readonly Step[] {
  return runningOf(observed, (instance) => instance.set !== selected?.manifestDigest)
    .slice(0, 1)
    .map(({ instanceId, set, workload }) => ({
      kind: "rollback",
      gate: "none",
      act: { do: "stop", instanceId, set, workload },
    }));
}

function storageHold(): Step {
  const evidence = { kind: "storage", reasonCode: "APPLY_FAILED", operation: "journal", problem: "EIO" } as const;
  return {
    kind: "hold",
    status: "blocked",
    phase: "hold",
    reasons: ["APPLY_FAILED"],
    evidence: [evidence],
    wakeWhen: { afterMs: LIMITS.stopRetryMs, on: ["storage", "runtime"] },
  };
}

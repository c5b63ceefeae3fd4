import type { Evidence, StackManifest } from "@muto/spec";
import { keptEvidence } from "./evidence.ts";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { announceOptions, unheardEvidence } from "./announcing.ts";
import { unreadInChange } from "./preparing.ts";
import { isLookDue, judgeReadiness, seconds, untilNextLookMs } from "./readiness.ts";
import { elapsedMs, isForced, type Rollback, type SetRef } from "./state.ts";
import type { ChangeAct, GateNeed, Hold, Step, WakeWhen } from "./step.ts";
import { stopsOf, stopTrouble, stopWaitMs, wasStopRequested } from "./stopping.ts";
import type { JournalRecord } from "./records.ts";
import { crashLoop, nextStart, runningOf, uncountedExit } from "./workloads.ts";

/**
 * The return to what was good. It needs no network, no new authority and no disk space beyond the preallocated journal (H8),
 * lowers no floor, and is held up by neither window nor battery.
 */
export function planRollback(rollback: Rollback, observed: Observed): readonly Step[] {
  switch (rollback.phase) {
    case "pending":
      return planPending(rollback, observed);
    case "stopping":
      return planStopping(rollback, observed);
    case "starting":
    case "probing":
      return planReturn(rollback, observed);
  }
}

/**
 * The failing stack was ready once, so the vehicle may be driving on it: other software starts only through the gates (H4).
 * Until they open, its dead workloads are restarted as in any repair. A computer that has booted since runs nothing yet.
 */
function planPending(rollback: Rollback, observed: Observed): readonly Step[] {
  // What earlier stops left behind must not be taken for a sign that this change has begun.
  const instanceIds = observed.instances
    .filter(({ state }) => state.kind === "ended" && state.requested)
    .map(({ instanceId }) => instanceId);
  const evidence = unheardEvidence(observed);
  const begun = { kind: "rollback-phase", phase: "stopping", at: observed.now } as const;
  const record: JournalRecord = evidence.length === 0 ? begun : { ...begun, evidence };
  const advance: ChangeAct = { do: "forget", record, instanceIds };
  if (isFreshBoot(rollback, observed)) return [rollingBack(advance)];
  const need = needOf(rollback);
  const gated = announceOptions(observed, {
    gate: need,
    begin: (act) => rollingBack(act, need),
    ungated: (act) => rollingBack(act),
    advance,
  });
  const wakeWhen: WakeWhen = { afterMs: LIMITS.gateRecheckMs, on: ["gates", "runtime"] };
  const hold: Hold = { ...applying(rollback), wakeWhen };
  return [...gated.before, ...keepAlive(rollback.from, observed), ...gated.after, hold];
}

/**
 * The computer has booted since the failure, and nothing of the failing stack has run in this boot: nobody relies on it, so the
 * first thing that is started is what it returns to, whatever the gates say. True through every step until then.
 */
function isFreshBoot({ begun, from }: Rollback, { now, instances, state }: Observed): boolean {
  if (begun.bootId === now.bootId) return false;
  const hasRun =
    instances.some(({ set, bootId }) => set === from.manifestDigest && bootId === now.bootId) ||
    state.exits.some(({ set, at }) => set === from.manifestDigest && at.bootId === now.bootId);
  return !hasRun && instances.every((instance) => instance.state.kind === "ended");
}

function keepAlive(set: SetRef, observed: Observed): readonly Step[] {
  const manifest = observed.releases.get(set.manifestDigest)?.manifest;
  if (manifest === undefined) return [];
  const exit = uncountedExit(observed, set.manifestDigest, manifest);
  if (exit !== undefined) return [{ kind: "restart", gate: "none", act: { do: "note", exit } }];
  const next = nextStart(observed, set, manifest);
  // What waits for a dependency that was restarted starts once that is seen to be ready.
  if (next.kind === "blocked" && isLookDue(observed, set.manifestDigest, LIMITS.probeIntervalMs)) {
    return [{ kind: "probe", set }];
  }
  if (next.kind !== "start") return [];
  return [{ kind: "restart", gate: "none", act: { do: "start", set, workload: next.workload.name } }];
}

/** Two sets never run at once, so nothing of the good set starts before nothing of the failed one is left. */
function planStopping(rollback: Rollback, observed: Observed): readonly Step[] {
  const others = runningOf(observed, (instance) => instance.set !== rollback.to?.manifestDigest);
  const gate = stopGate(rollback, observed);
  // Nothing has been stopped yet and the gates have closed again: what fails goes on running until they open.
  const record: JournalRecord = { kind: "rollback-phase", phase: "pending", at: observed.now };
  const wait: readonly Step[] = gate === "none" ? [] : [rollingBack({ do: "record", record })];
  if (others.length > 0) {
    const afterMs = stopWaitMs(observed, others);
    if (afterMs === 0) return [rollingBack(stopsOf(observed, others), gate), ...wait];
    const stuck = stopTrouble(observed, others);
    const failure = stuck === undefined ? applying(rollback) : stranded(rollback, [stuck]);
    return [{ ...failure, wakeWhen: { afterMs, on: ["runtime"] } }];
  }
  const instanceIds = observed.instances
    .filter((instance) => instance.state.kind === "ended" && instance.set !== rollback.to?.manifestDigest)
    .map((instance) => instance.instanceId);
  const starting: JournalRecord = { kind: "rollback-phase", phase: "starting", at: observed.now };
  return [rollingBack({ do: "forget", record: starting, instanceIds }, gate), ...wait];
}

/** Like a switch, a rollback from a set that was ready asks the gates in the very pass that stops the first workload. */
function stopGate(rollback: Rollback, observed: Observed): GateNeed {
  const { from, wasReady, since } = rollback;
  if (!wasReady || since.bootId !== observed.now.bootId || isFreshBoot(rollback, observed)) return "none";
  const begun = observed.seen.stopping === rollback.changeId;
  if (begun || wasStopRequested(observed, (set) => set === from.manifestDigest)) return "none";
  return needOf(rollback);
}

/** A trial that the operator calls back is a change like any other; a failing stack is left as soon as that is safe. */
function needOf(rollback: Rollback): GateNeed {
  return isForced(rollback) ? "stop" : "switch";
}

function planReturn(rollback: Rollback, observed: Observed): readonly Step[] {
  const { to } = rollback;
  if (to === null) return [ended(rollback, observed, "failed", [])];
  const manifest = observed.releases.get(to.manifestDigest)?.manifest;
  if (manifest === undefined) {
    const unread = unreadInChange(to.manifestDigest, observed, "rollback");
    return [unread ?? ended(rollback, observed, "failed", [goneEvidence()])];
  }
  if (rollback.since.bootId !== observed.now.bootId) {
    return [rollingBack({ do: "record", record: { kind: "rollback-phase", phase: rollback.phase, at: observed.now } })];
  }
  const others = runningOf(observed, (instance) => instance.set !== to.manifestDigest);
  if (others.length > 0) return [rollingBack(stopsOf(observed, others))];
  return planReturnTo(rollback, to, manifest, observed);
}

function planReturnTo(rollback: Rollback, to: SetRef, manifest: StackManifest, observed: Observed): readonly Step[] {
  const digest = to.manifestDigest;
  const exit = uncountedExit(observed, digest, manifest);
  if (exit !== undefined) return [{ kind: "restart", gate: "none", act: { do: "note", exit } }];
  const loop = crashLoop(observed, digest, manifest);
  if (loop !== undefined) return [ended(rollback, observed, "failed", [{ ...loop, reasonCode: "ROLLBACK_FAILED" }])];
  const refused = [...observed.seen.starts.values()].filter(({ subject }) => subject === digest);
  if (refused.some(({ attempts }) => attempts >= LIMITS.stopTriesMax)) {
    return [
      ended(
        rollback,
        observed,
        "failed",
        refused.flatMap(({ evidence }) => evidence),
      ),
    ];
  }
  const readiness = judgeReadiness(observed, digest, manifest, rollback.since, rollback.before);
  if (readiness.kind === "timeout") {
    const evidence = readiness.evidence.map((item) => ({ ...item, reasonCode: "ROLLBACK_FAILED" as const }));
    return [ended(rollback, observed, "failed", evidence)];
  }
  if (rollback.phase === "probing" && readiness.kind === "ready") return [ended(rollback, observed, "applied", [])];
  const next = nextStart(observed, to, manifest);
  if (next.kind === "start") return [rollingBack({ do: "start", set: to, workload: next.workload.name })];
  if (rollback.phase === "starting" && next.kind === "none") {
    return [rollingBack({ do: "record", record: { kind: "rollback-phase", phase: "probing", at: observed.now } })];
  }
  if (isLookDue(observed, digest, LIMITS.probeIntervalMs)) return [{ kind: "probe", set: to }];
  const lookMs = untilNextLookMs(observed, digest, LIMITS.probeIntervalMs);
  const afterMs = next.kind === "wait" ? Math.min(lookMs, next.afterMs) : lookMs;
  return [{ ...applying(rollback), wakeWhen: { afterMs, on: ["runtime"] } }];
}

function ended(
  rollback: Rollback,
  observed: Observed,
  outcome: "applied" | "failed",
  evidence: readonly Evidence[],
): Step {
  const { from, to } = rollback;
  const code = outcome === "applied" ? "ROLLBACK_APPLIED" : "ROLLBACK_FAILED";
  const summary: Evidence = {
    kind: "rollback",
    reasonCode: code,
    from: from.manifestDigest,
    to: to?.manifestDigest ?? null,
  };
  const tookMs = elapsedMs(observed.now, rollback.begun);
  const timings = { ...observed.state.timings, ...(tookMs === null ? {} : { rollbackSec: seconds(tookMs) }) };
  const record = {
    kind: "rollback-ended",
    outcome,
    evidence: keptEvidence([summary, ...evidence]),
    atMs: observed.now.wallMs,
    timings,
  } as const;
  return rollingBack({ do: "record", record });
}

function goneEvidence(): Evidence {
  return { kind: "storage", reasonCode: "ROLLBACK_FAILED", operation: "set", problem: "ENOENT" };
}

function applying(rollback: Rollback): Hold {
  const { reasonCodes, evidence } = rollback.cause;
  const wakeWhen: WakeWhen = { afterMs: LIMITS.stopRetryMs, on: ["runtime"] };
  return { kind: "hold", status: "applying", phase: "rollback", reasons: reasonCodes, evidence, wakeWhen };
}

/** What fails cannot be ended, so nothing else may start; the tries go on. */
function stranded(rollback: Rollback, evidence: readonly Evidence[]): Hold {
  const { cause } = rollback;
  return {
    ...applying(rollback),
    status: "failed",
    reasons: [...cause.reasonCodes, "ROLLBACK_FAILED"],
    evidence: keptEvidence(cause.evidence, evidence),
  };
}

function rollingBack(act: ChangeAct, gate: GateNeed = "none"): Step {
  return { kind: "rollback", gate, act };
}

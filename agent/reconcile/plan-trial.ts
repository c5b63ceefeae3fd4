import type { Evidence, ReasonCode, StackManifest } from "@muto/spec";
import type { Desired } from "./desired.ts";
import { wantedDigest } from "./desired.ts";
import { keptCause } from "./evidence.ts";
import { LIMITS } from "./limits.ts";
import type { KnownRelease, Observed } from "./observed.ts";
import { unreadInChange } from "./preparing.ts";
import {
  hangingInstance,
  isLookDue,
  isReadyNow,
  judgeReadiness,
  lookIntervalMs,
  seconds,
  unmetEvidence,
  untilNextLookMs,
} from "./readiness.ts";
import { elapsedMs, type Instant, type ProbeBefore, type Rollback, type Trial } from "./state.ts";
import type { ChangeAct, GateNeed, Hold, Step, WakeWhen } from "./step.ts";
import { isSameProbe } from "./same-probe.ts";
import { stopsOf, stopTrouble, wasStopRequested } from "./stopping.ts";
import { crashLoop, isUp, nextStart, runningOf, uncountedExit } from "./workloads.ts";

/** A change that has begun. The only set it can lead to besides its own is the one it came from. */
export function planTrial(trial: Trial, desired: Desired, observed: Observed): readonly Step[] {
  if (trial.since.bootId !== observed.now.bootId) {
    return [switching({ do: "record", record: { kind: "trial-rebooted", at: observed.now } })];
  }
  if (trial.reboots >= LIMITS.trialReboots) return [failed(trial, observed, rebootCause(trial))];
  const release = observed.releases.get(trial.set.manifestDigest);
  if (release === undefined) {
    return [unreadInChange(trial.set.manifestDigest, observed, "switch") ?? failed(trial, observed, missingCause())];
  }
  switch (trial.phase) {
    case "stopping":
      return planStopping(trial, observed);
    case "starting":
    case "probing":
      return planStarting(trial, release.manifest, observed);
    case "probation":
      return planProbation(trial, release, desired, observed);
  }
}

/**
 * While nothing has been stopped, the gates are asked once more in the very pass that stops the first workload; if they have
 * closed, the trial is abandoned and the old stack never noticed. From the first stop on, the change is carried to its end.
 */
function planStopping(trial: Trial, observed: Observed): readonly Step[] {
  const begun =
    observed.seen.stopping === trial.changeId || wasStopRequested(observed, (set) => set !== trial.set.manifestDigest);
  const gate: GateNeed = begun ? "none" : "switch";
  const abandon: readonly Step[] = begun ? [] : [switching({ do: "record", record: { kind: "trial-abandoned" } })];
  const others = runningOf(observed, (instance) => instance.set !== trial.set.manifestDigest);
  const trouble = stopTrouble(observed, others);
  if (trouble !== undefined) return [failed(trial, observed, { codes: ["APPLY_FAILED"], evidence: [trouble] })];
  if (others.length > 0) return [switching(stopsOf(observed, others), gate), ...abandon];
  const instanceIds = observed.instances
    .filter((instance) => instance.state.kind === "ended")
    .map((instance) => instance.instanceId);
  const record = { kind: "trial-phase", phase: "starting", at: observed.now, timings: {} } as const;
  return [switching({ do: "forget", record, instanceIds }, gate), ...abandon];
}

function planStarting(trial: Trial, manifest: StackManifest, observed: Observed): readonly Step[] {
  const { set } = trial;
  const digest = set.manifestDigest;
  const others = runningOf(observed, (instance) => instance.set !== digest);
  if (others.length > 0) return [switching(stopsOf(observed, others))];
  const exit = uncountedExit(observed, digest, manifest);
  if (exit !== undefined) return [{ kind: "restart", gate: "none", act: { do: "note", exit } }];
  const loop = crashLoop(observed, digest, manifest);
  if (loop !== undefined) {
    return [failed(trial, observed, { codes: ["CRASH_LOOP_DETECTED"], evidence: [loop] })];
  }
  const refused = startTrouble(observed, digest);
  if (refused !== undefined) return [failed(trial, observed, { codes: ["APPLY_FAILED"], evidence: refused })];
  const readiness = judgeReadiness(observed, digest, manifest, trial.since, sharedBefore(trial, observed));
  if (readiness.kind === "timeout") {
    return [failed(trial, observed, { codes: ["READINESS_TIMEOUT"], evidence: readiness.evidence })];
  }
  if (trial.phase === "probing" && readiness.kind === "ready") {
    const timings = { readinessSec: readiness.afterSec };
    return [switching(phaseRecord("probation", observed.now, timings))];
  }
  const next = nextStart(observed, set, manifest);
  if (next.kind === "start") return [switching({ do: "start", set, workload: next.workload.name })];
  if (trial.phase === "starting" && next.kind === "none") {
    const applyMs = elapsedMs(observed.now, trial.begun);
    return [switching(phaseRecord("probing", observed.now, applyMs === null ? {} : { applySec: seconds(applyMs) }))];
  }
  if (isLookDue(observed, digest, LIMITS.probeIntervalMs)) return [{ kind: "probe", set }];
  const lookMs = untilNextLookMs(observed, digest, LIMITS.probeIntervalMs);
  const afterMs = next.kind === "wait" ? Math.min(lookMs, next.afterMs) : lookMs;
  return [applying("probe", { afterMs, on: ["runtime"] })];
}

/** The new stack was ready. It is committed after powered seconds without a crash loop, with no server needed. */
function planProbation(trial: Trial, release: KnownRelease, desired: Desired, observed: Observed): readonly Step[] {
  const { set } = trial;
  const { manifest } = release;
  const digest = set.manifestDigest;
  const exit = uncountedExit(observed, digest, manifest);
  if (exit !== undefined) return [{ kind: "restart", gate: "none", act: { do: "note", exit } }];
  const loop = crashLoop(observed, digest, manifest);
  if (loop !== undefined) {
    return [failed(trial, observed, { codes: ["CRASH_LOOP_DETECTED"], evidence: [loop] })];
  }
  if (isCalledBack(trial, desired)) return [failed(trial, observed, { codes: [], evidence: [] })];
  const next = nextStart(observed, set, manifest);
  if (next.kind === "start") {
    return [{ kind: "restart", gate: "none", act: { do: "start", set, workload: next.workload.name } }];
  }
  const lookMs = lookIntervalMs(observed, digest, manifest, next.kind === "blocked");
  if (lookMs !== undefined && isLookDue(observed, digest, lookMs)) return [{ kind: "probe", set }];
  const sinceMs = elapsedMs(observed.now, trial.since) ?? 0;
  const poweredMs = trial.poweredMs + sinceMs;
  const leftMs = manifest.healthModel.probationSec * 1000 - poweredMs;
  if (leftMs <= 0) return planDecision(trial, manifest, observed, -leftMs);
  if (sinceMs >= LIMITS.probationCheckpointMs) {
    return [switching({ do: "record", record: { kind: "trial-powered", poweredMs, at: observed.now } })];
  }
  const hanging = hangingInstance(observed, digest, manifest);
  const bounce: readonly Step[] = hanging === undefined ? [] : [unhangStep(observed, hanging)];
  const waits = [leftMs, LIMITS.probationCheckpointMs - sinceMs];
  if (next.kind === "wait") waits.push(next.afterMs);
  if (lookMs !== undefined) waits.push(untilNextLookMs(observed, digest, lookMs));
  const afterMs = Math.max(1, Math.min(...waits.filter((wait) => wait > 0)));
  return [...bounce, applying("probation", { afterMs, on: ["runtime"] })];
}

/**
 * The probation is over. A set that was ready and of which nothing has been restarted since is committed. Otherwise nobody has
 * seen these very instances ready: a fresh look must, within the set's own readiness time, and not right after a restart.
 */
function planDecision(trial: Trial, manifest: StackManifest, observed: Observed, overMs: number): readonly Step[] {
  const { set } = trial;
  const digest = set.manifestDigest;
  const wasRestarted = trial.reboots > 0 || observed.state.exits.some((exit) => exit.set === digest);
  const hanging = hangingInstance(observed, digest, manifest);
  if (wasRestarted && isLookDue(observed, digest, LIMITS.probeIntervalMs)) return [{ kind: "probe", set }];
  const isProved = wasRestarted ? isReadyNow(observed, digest, manifest) && isQuiet(observed, digest) : true;
  if (isProved && isUp(observed, digest, manifest) && hanging === undefined) {
    const record = { kind: "committed", securityEpoch: manifest.securityEpoch, atMs: observed.now.wallMs } as const;
    return [{ kind: "commit", record }];
  }
  if (overMs >= manifest.healthModel.readinessTimeoutSec * 1000) {
    const evidence = unmetEvidence(observed, digest, manifest, seconds(overMs), sharedBefore(trial, observed));
    return [failed(trial, observed, { codes: ["READINESS_TIMEOUT"], evidence })];
  }
  const bounce: readonly Step[] = hanging === undefined ? [] : [unhangStep(observed, hanging)];
  const afterMs = Math.max(1, untilNextLookMs(observed, digest, LIMITS.probeIntervalMs));
  return [...bounce, applying("probation", { afterMs, on: ["runtime"] })];
}

function isQuiet(observed: Observed, set: string): boolean {
  return observed.state.exits.every((exit) => {
    const ageMs = exit.set === set ? elapsedMs(observed.now, exit.at) : null;
    return ageMs === null || ageMs >= LIMITS.quietBeforeCommitMs;
  });
}

/** A hang is an unexpected end that only our stop makes visible: it counts like one, in probation and towards a crash loop. */
export function unhangStep({ now }: Observed, instance: Observed["instances"][number]): Step {
  const { instanceId, set, workload } = instance;
  const hung = { instanceId, set, workload, at: now, code: null, signal: null, hung: true } as const;
  return { kind: "restart", gate: "stop", act: { do: "stop", instanceId, set, workload, hung } };
}

/** The operator wants the committed release back while the new one is on probation: nobody failed. */
function isCalledBack(trial: Trial, desired: Desired): boolean {
  return (
    trial.from !== null &&
    wantedDigest(desired) === trial.from.manifestDigest &&
    desired.assignment?.start === "allowed"
  );
}

interface Failure {
  readonly codes: readonly ReasonCode[];
  readonly evidence: readonly Evidence[];
}

/**
 * Between the stop of the old stack and the first readiness of the new one the return happens at once. Later the failing
 * stack may still be driving, so its stop waits for the motion and mode gates (H4); a computer that has just booted runs
 * nothing that could be stopped.
 */
function failed(trial: Trial, observed: Observed, cause: Failure): Step {
  const runsNothing = runningOf(observed, () => true).length === 0 && trial.reboots > 0 && cause.codes.length > 0;
  const atOnce = trial.phase !== "probation" || (runsNothing && trial.reboots >= LIMITS.trialReboots);
  const rollback: Rollback = {
    changeId: trial.changeId,
    from: trial.set,
    to: trial.from,
    phase: atOnce ? "stopping" : "pending",
    wasReady: !atOnce,
    cause: keptCause({ reasonCodes: cause.codes, evidence: cause.evidence }),
    attempt: trial.attempt,
    desiredStateRevision: trial.set.desiredStateRevision,
    sequence: trial.set.sequence,
    begun: observed.now,
    since: observed.now,
    before: trial.before,
  };
  return { kind: "rollback", gate: "none", act: { do: "fail", record: { kind: "rollback-begun", rollback } } };
}

function rebootCause(trial: Trial): Failure {
  const evidence: Evidence = {
    kind: "rollback",
    reasonCode: "CRASH_LOOP_DETECTED",
    from: trial.set.manifestDigest,
    to: trial.from?.manifestDigest ?? null,
    reboots: trial.reboots,
  };
  return { codes: ["CRASH_LOOP_DETECTED"], evidence: [evidence] };
}

/** The bytes of the set on trial are gone or wrong. */
function missingCause(): Failure {
  const evidence: Evidence = { kind: "storage", reasonCode: "APPLY_FAILED", operation: "set", problem: "ENOENT" };
  return { codes: ["APPLY_FAILED"], evidence: [evidence] };
}

function startTrouble(observed: Observed, digest: string): readonly Evidence[] | undefined {
  const trouble = [...observed.seen.starts.values()].filter(({ subject }) => subject === digest);
  return trouble.length === 0 ? undefined : trouble.flatMap(({ evidence }) => evidence);
}

/** Only probes that old and new stack define alike can be compared (H23). */
function sharedBefore(trial: Pick<Trial, "from" | "set" | "before">, observed: Observed): readonly ProbeBefore[] {
  const old = trial.from === null ? undefined : observed.releases.get(trial.from.manifestDigest);
  const own = observed.releases.get(trial.set.manifestDigest);
  return trial.before.filter(({ probe }) => {
    const before = old?.manifest.healthModel.probes.find(({ name }) => name === probe);
    const now = own?.manifest.healthModel.probes.find(({ name }) => name === probe);
    return before !== undefined && now !== undefined && isSameProbe(before, now);
  });
}

function phaseRecord(phase: Trial["phase"], at: Instant, timings: Trial["timings"]): ChangeAct {
  return { do: "record", record: { kind: "trial-phase", phase, at, timings } };
}

function switching(act: ChangeAct, gate: GateNeed = "none"): Step {
  return { kind: "switch", gate, act };
}

function applying(phase: Hold["phase"], wakeWhen: WakeWhen): Hold {
  return { kind: "hold", status: "applying", phase, reasons: [], evidence: [], wakeWhen };
}

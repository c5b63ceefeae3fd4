import { backoffMs } from "@muto/kit/backoff";
import { timestamp } from "@muto/kit/clock";
import { DiskError } from "@muto/kit/disk";
import { ulid } from "@muto/kit/ids";
import { refuseUnacknowledged } from "../safety/hold.ts";
import { keptCause } from "../reconcile/evidence.ts";
import { LIMITS } from "../reconcile/limits.ts";
import { NO_SIGHTINGS, type Trouble } from "../reconcile/observed.ts";
import { isForced, type SetRef } from "../reconcile/state.ts";
import type { ChangeAct } from "../reconcile/step.ts";
import { attemptsOf, withEntry, withoutEntry } from "../memory.ts";
import type { AgentServices } from "../services.ts";
import { storageEvidence } from "./fetch.ts";
import { lookBefore, type ProbeServices } from "./probing.ts";
import { setOnDisk, type StageServices, verifySet } from "./stage.ts";
import type { TailKeeper } from "./tails.ts";

export interface ChangeServices
  extends StageServices, ProbeServices, Pick<AgentServices, "changeFlag" | "config" | "logger"> {
  readonly tails: TailKeeper;
  /** The change that the vehicle was last told of; undefined when this process does not know. */
  readonly flag: { told: string | null | undefined };
}

/** One act of a switch or a rollback. Its gate, where it has one, was asked in this very pass. */
export async function act(services: ChangeServices, what: ChangeAct, signal: AbortSignal): Promise<void> {
  switch (what.do) {
    case "announce":
      return announce(services, signal);
    case "withdraw":
      return withdraw(services);
    case "record":
      return services.store.record(what.record);
    case "forget":
      await services.store.record(what.record);
      if (what.record.kind === "trial-begun") services.memory.update(() => ({ probes: NO_SIGHTINGS }));
      for (const instanceId of what.instanceIds) await services.runtime.forget(instanceId);
      return;
    case "stop":
      return stopInstance(services, what);
    case "start":
      return startWorkload(services, what.set, what.workload);
    case "fail":
      return fail(services, what);
  }
}

/** Tells the vehicle that its stack is about to be changed, and looks at the old stack's probes while it still runs. */
async function announce(services: ChangeServices, signal: AbortSignal): Promise<void> {
  const { clock, random, store } = services;
  const { rollback } = store.state;
  const changeId = rollback?.changeId ?? ulid(clock, random);
  const how = isForced(rollback) ? "as-can-be" : "durably";
  await tell(services, changeId, how);
  if (services.flag.told !== changeId && how === "durably") return;
  const before = rollback === null ? await lookBefore(services, signal) : [];
  services.memory.update(() => ({ announced: { changeId, atMs: clock.monotonicMs(), before } }));
}

async function withdraw(services: ChangeServices): Promise<void> {
  const { memory, clock, config } = services;
  const { announced } = memory.seen;
  const timeoutMs = config.changeInProgress.acknowledgementTimeoutSec * 1000;
  const waitedMs = announced === null ? 0 : clock.monotonicMs() - announced.atMs;
  memory.update(() => ({
    announced: null,
    unacknowledged:
      config.changeInProgress.acknowledgementRequired && waitedMs >= timeoutMs
        ? unacknowledged(services, waitedMs)
        : null,
  }));
  await tell(services, null);
}

function unacknowledged({ clock }: ChangeServices, waitedMs: number): Trouble {
  return {
    subject: "change",
    attempts: 1,
    retryAtMs: clock.monotonicMs() + LIMITS.acknowledgementRetryMs,
    final: false,
    evidence: [refuseUnacknowledged(waitedMs).evidence],
  };
}

/**
 * Nobody is told twice. `durably`: when the file cannot be written nobody is told at all, and then no change may begin (H5).
 * `as-can-be`: a change that has begun, a return from a stack that fails, and the end of a change are told to whoever listens,
 * file or not. What could not be written is tried again with a growing delay.
 */
export async function tell(
  services: Pick<ChangeServices, "changeFlag" | "clock" | "random" | "flag" | "logger" | "memory">,
  changeId: string | null,
  how: "durably" | "as-can-be" = "as-can-be",
): Promise<void> {
  const { changeFlag, clock, random, flag, logger, memory } = services;
  if (flag.told === changeId) return;
  const { untold } = memory.seen;
  if (untold?.subject === subjectOf(changeId) && clock.monotonicMs() < untold.retryAtMs) return;
  const change = {
    kind: "muto.change/v1",
    inProgress: changeId !== null,
    changeId,
    at: timestamp(clock.wallMs()),
  } as const;
  try {
    await changeFlag.assert(change);
    flag.told = changeId;
    memory.update(() => ({ untold: null }));
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    logger.error("vehicle cannot be told of a change", { code: error.code });
    if (how === "as-can-be") {
      changeFlag.tell(change);
      // Whoever listened knows, the file does not: what comes next has to be told again.
      flag.told = undefined;
    }
    const attempts = (untold?.attempts ?? 0) + 1;
    const delay = { attempt: attempts - 1, baseMs: LIMITS.tellBaseMs, maxMs: LIMITS.tellMsMax };
    const retryAtMs = clock.monotonicMs() + backoffMs({ ...delay, fraction: random.fraction() });
    const evidence = [storageEvidence("change-flag", error)];
    memory.update(() => ({ untold: { subject: subjectOf(changeId), attempts, retryAtMs, final: false, evidence } }));
  }
}

function subjectOf(changeId: string | null): string {
  return changeId ?? "no change";
}

export async function stopInstance(
  services: ChangeServices,
  { instanceId, set, workload }: { readonly instanceId: string; readonly set: string; readonly workload: string },
): Promise<void> {
  const { memory, runtime, clock, store, logger } = services;
  const { trial, rollback } = store.state;
  const change = rollback ?? trial;
  if (change?.phase === "stopping") memory.update(() => ({ stopping: change.changeId }));
  logger.info("stopping workload", { instanceId, set, workload });
  const stopped = await runtime.stop(instanceId);
  if (stopped.ok) return memory.update((seen) => ({ stops: withoutEntry(seen.stops, instanceId) }));
  const attempts = attemptsOf(memory.seen.stops.get(instanceId), instanceId) + 1;
  const trouble = { subject: instanceId, attempts, retryAtMs: clock.monotonicMs() + LIMITS.stopRetryMs, final: false };
  logger.error("workload does not stop", { instanceId, set, workload, attempts });
  memory.update((seen) => ({ stops: withEntry(seen.stops, instanceId, { ...trouble, evidence: [] }) }));
}

/** Digests are checked again right before anything of a set is started. */
export async function startWorkload(services: ChangeServices, ref: SetRef, name: string): Promise<void> {
  const { memory, runtime, clock, random, logger } = services;
  const set = await setOnDisk(services, ref.manifestDigest);
  const workload = set?.manifest.workloads.find((candidate) => candidate.name === name);
  if (set === undefined || workload === undefined) return;
  await forgetEnded(services, ref.manifestDigest, name);
  const verifiedMs = memory.seen.verifiedMs.get(ref.manifestDigest);
  const isFresh = verifiedMs !== undefined && clock.monotonicMs() - verifiedMs < LIMITS.verifiedBeforeStartMsMax;
  if (!isFresh) await verifySet(services, { do: "verify", set: ref, role: "target" });
  const instanceId = ulid(clock, random);
  const started = memory.seen.damaged.has(ref.manifestDigest)
    ? ({ ok: false, problem: "tampered", code: "EBADMSG" } as const)
    : await runtime.start(set, workload, instanceId);
  if (started.ok) {
    logger.info("started workload", { instanceId, set: ref.manifestDigest, workload: name });
    return memory.update((seen) => ({ starts: withoutEntry(seen.starts, name) }));
  }
  const attempts = attemptsOf(memory.seen.starts.get(name), ref.manifestDigest) + 1;
  logger.error("workload does not start", {
    set: ref.manifestDigest,
    workload: name,
    problem: started.problem,
    code: started.code,
  });
  const evidence = {
    kind: "workload",
    reasonCode: "APPLY_FAILED",
    workload: name,
    problem: started.problem,
    exits: 0,
    windowSec: 0,
  } as const;
  const delay = { attempt: attempts - 1, baseMs: LIMITS.restartBaseMs, maxMs: LIMITS.restartMsMax };
  const retryAtMs = clock.monotonicMs() + backoffMs({ ...delay, fraction: random.fraction() });
  const trouble = { subject: ref.manifestDigest, attempts, retryAtMs, final: false, evidence: [evidence] };
  // Perhaps the files are not what they were: they are hashed before the next try, and mended when they are damaged.
  memory.update((seen) => ({
    starts: withEntry(seen.starts, name, trouble),
    verifiedMs: withoutEntry(seen.verifiedMs, ref.manifestDigest),
  }));
}

/** What is left of earlier instances says nothing any more once another one is started. */
async function forgetEnded({ runtime }: ChangeServices, set: string, workload: string): Promise<void> {
  for (const instance of await runtime.inspect()) {
    if (instance.set !== set || instance.workload !== workload || instance.state.kind !== "ended") continue;
    await runtime.forget(instance.instanceId);
  }
}

/** Keeps what the failing workloads last said, then decides for the rollback; nothing is allowed to hold that up. */
async function fail(services: ChangeServices, { record }: Extract<ChangeAct, { do: "fail" }>): Promise<void> {
  const { rollback } = record;
  const { cause, from } = rollback;
  const [reasonCode] = cause.reasonCodes;
  services.logger.warn("rolling back", {
    from: from.manifestDigest,
    to: rollback.to?.manifestDigest ?? null,
    reasonCodes: cause.reasonCodes,
  });
  const tails = reasonCode === undefined ? [] : await services.tails.keep(from.manifestDigest, reasonCode);
  await services.store.record({ ...record, rollback: { ...rollback, cause: keptCause(cause, tails) } });
  const forgotten = { announced: null, stopping: null, starts: new Map() };
  // While the failing set goes on running, its dependencies are still judged by what was seen of them.
  const probes = rollback.phase === "pending" ? services.memory.seen.probes : NO_SIGHTINGS;
  services.memory.update(() => ({ ...forgotten, probes }));
}

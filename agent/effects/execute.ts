import { DiskError } from "@muto/kit/disk";
import type { RepairAct, CleanAct, Step, StepOf } from "../reconcile/step.ts";
import { LIMITS } from "../reconcile/limits.ts";
import { act, startWorkload, stopInstance, type ChangeServices } from "./change.ts";
import { download, fetchRelease } from "./fetch.ts";
import { probe } from "./probing.ts";
import { stage, verifySet } from "./stage.ts";

/** One effect for each kind of step; a kind without an effect does not compile. */
export type Effects = {
  readonly [Kind in Step["kind"]]: (step: StepOf<Kind>, signal: AbortSignal) => Promise<void>;
};

export function createEffects(services: ChangeServices): Effects {
  return {
    fetchRelease: (step, signal) => fetchRelease(services, step, signal),
    download: (step, signal) => download(services, step, signal),
    stage: (step, signal) => stage(services, step, signal),
    switch: (step, signal) =>
      step.act.do === "verify" ? verifySet(services, step.act) : act(services, step.act, signal),
    probe: (step, signal) => probe(services, step, signal),
    commit: (step) => services.store.record(step.record),
    rollback: (step, signal) => act(services, step.act, signal),
    restart: (step) => repair(services, step.act),
    clean: (step) => clean(services, step.act),
    hold: async () => {},
    settled: async () => {},
  };
}

export function execute(effects: Effects, step: Step, signal: AbortSignal): Promise<void> {
  switch (step.kind) {
    case "fetchRelease":
      return effects.fetchRelease(step, signal);
    case "download":
      return effects.download(step, signal);
    case "stage":
      return effects.stage(step, signal);
    case "switch":
      return effects.switch(step, signal);
    case "probe":
      return effects.probe(step, signal);
    case "commit":
      return effects.commit(step, signal);
    case "rollback":
      return effects.rollback(step, signal);
    case "restart":
      return effects.restart(step, signal);
    case "clean":
      return effects.clean(step, signal);
    case "hold":
      return effects.hold(step, signal);
    case "settled":
      return effects.settled(step, signal);
  }
}

async function repair(services: ChangeServices, what: RepairAct): Promise<void> {
  switch (what.do) {
    case "note": {
      const { instanceId, set, workload, code, signal } = what.exit;
      services.logger.warn("workload ended", { instanceId, set, workload, code, signal });
      await services.store.record({ kind: "exited", exit: what.exit });
      return;
    }
    case "start":
      return startWorkload(services, what.set, what.workload);
    case "stop":
      if (what.hung !== undefined) await services.store.record({ kind: "exited", exit: what.hung });
      return stopInstance(services, what);
    case "record":
      return services.store.record(what.record);
  }
}

async function clean(services: ChangeServices, what: CleanAct): Promise<void> {
  switch (what.do) {
    case "forget":
      for (const instanceId of what.instanceIds) await services.runtime.forget(instanceId);
      return;
    case "stop-extra":
      return stopInstance(services, what);
    case "record":
      return services.store.record(what.record);
    case "sweep":
      return sweep(services, what.keep);
  }
}

/** What the disk does not let go of now is removed after the next change; it must not stand in the way of that change. */
async function sweep(services: ChangeServices, keep: readonly string[]): Promise<void> {
  const { sets, releases, runtime, memory, logger } = services;
  try {
    const swept = await sets.sweep(keep, async (digest) => (await releases.get(digest))?.blobs);
    await runtime.sweep?.(keep);
    const { setsRemoved, blobsRemoved, bytesFreed } = swept;
    if (setsRemoved + blobsRemoved > 0) logger.info("cleaned up", { setsRemoved, blobsRemoved, bytesFreed });
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    logger.warn("cleaning was refused", { code: error.code });
  }
  releases.recheck();
  memory.update(() => ({ swept: keep.join(" ") }));
}

/** Steps that touch nothing that runs may be given up as soon as something more urgent is to be done. */
export function isPatient(step: Step): boolean {
  return step.kind === "fetchRelease" || step.kind === "download" || step.kind === "stage";
}

/** Whether a look at the world in the middle of a patient step still asks for that very step. */
export function isSameWork(one: Step, other: Step): boolean {
  return one.kind === other.kind && subjectOf(one) === subjectOf(other);
}

function subjectOf(step: Step): string | undefined {
  if (step.kind === "stage") return step.set.manifestDigest;
  return step.kind === "fetchRelease" || step.kind === "download" ? step.digest : undefined;
}

export const RESTLESS_MS = LIMITS.diskRecheckMs;

import { DiskError } from "@muto/kit/disk";
import type { Evidence } from "@muto/spec";
import type { SetOnDisk } from "../ports.ts";
import { seconds } from "../reconcile/readiness.ts";
import type { SetRef } from "../reconcile/state.ts";
import type { StepOf, VerifyAct } from "../reconcile/step.ts";
import { withEntry, withoutEntry } from "../memory.ts";
import type { AgentServices } from "../services.ts";
import { errorNumber, storageTrouble, type FetchServices } from "./fetch.ts";
import type { Releases } from "./releases.ts";

export interface StageServices extends FetchServices, Pick<AgentServices, "runtime" | "store" | "sets"> {}

/** A set as the runtime knows it; undefined while its manifest is not here. */
export async function setOnDisk(
  { releases, sets }: { readonly releases: Releases; readonly sets: AgentServices["sets"] },
  manifestDigest: string,
): Promise<SetOnDisk | undefined> {
  const release = await releases.get(manifestDigest);
  if (release === undefined) return undefined;
  return { manifestDigest, folder: sets.folderOf(manifestDigest), manifest: release.manifest };
}

/** Prepares a set from verified artifacts beside whatever runs, and hashes the result before it counts (H9). */
export async function stage(services: StageServices, { set }: StepOf<"stage">, signal: AbortSignal): Promise<void> {
  const { memory, runtime, content, releases } = services;
  const onDisk = await setOnDisk(services, set.manifestDigest);
  if (onDisk === undefined) return;
  const digest = set.manifestDigest;
  const startedMs = services.clock.monotonicMs();
  try {
    if (memory.seen.damaged.has(digest) && (await dropDamagedBlobs(services, digest))) return;
    const prepared = await runtime.prepare(onDisk, (blob) => content.openRead(blob), signal);
    if (signal.aborted) return;
    if (!prepared.ok) {
      const { problem, code } = prepared;
      if (problem === "malformed-archive") return refuseArchive(services, digest, code);
      // Bytes that went bad on this disk are no fault of the release: they are dropped and fetched again (H14).
      if (problem === "storage" && (await dropDamagedBlobs(services, digest))) return;
      return storageTrouble(
        services,
        digest,
        new DiskError(problem === "no-space" ? "ENOSPC" : code, "prepare", onDisk.folder),
      );
    }
    if (!(await runtime.verify(onDisk))) {
      releases.recheck();
      return storageTrouble(services, digest, new DiskError("EBADMSG", "verify", onDisk.folder));
    }
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof DiskError)) throw error;
    return storageTrouble(services, digest, error);
  }
  await noteWhole(services, digest);
  if (!isMended(services, set)) {
    const tookSec = seconds(services.clock.monotonicMs() - startedMs);
    await services.store.record({ kind: "staged", set, timings: { downloadSec: downloadSec(services) + tookSec } });
  }
}

/** Re-hashes a set that is about to be relied on. */
export async function verifySet(services: StageServices, { set, role }: VerifyAct): Promise<void> {
  const onDisk = await setOnDisk(services, set.manifestDigest);
  const isWhole = onDisk !== undefined && (await services.runtime.verify(onDisk));
  if (isWhole) return noteWhole(services, set.manifestDigest);
  const { logger, memory, store, releases } = services;
  logger.error("set is damaged", { set: set.manifestDigest, role });
  const { manifestDigest } = set;
  const sinceMs = memory.seen.damagedSince.get(manifestDigest) ?? services.clock.wallMs();
  memory.update((seen) => ({
    damaged: new Set([...seen.damaged, manifestDigest]),
    damagedSince: withEntry(seen.damagedSince, manifestDigest, sinceMs),
  }));
  releases.recheck();
  if (role === "target") await store.record({ kind: "target-damaged", manifestDigest: set.manifestDigest });
}

async function noteWhole({ memory, clock, store }: StageServices, digest: string): Promise<void> {
  const atMs = clock.monotonicMs();
  memory.update((seen) => ({
    stage: seen.stage?.subject === digest ? null : seen.stage,
    damaged: new Set([...seen.damaged].filter((known) => known !== digest)),
    damagedSince: withoutEntry(seen.damagedSince, digest),
    verifiedMs: withEntry(seen.verifiedMs, digest, atMs),
  }));
  if (store.state.active?.manifestDigest === digest) {
    await store.record({ kind: "target-verified", manifestDigest: digest, atMs: clock.wallMs() });
  }
}

/** True when blobs of the set were damaged too: they are gone now and will be fetched again. */
async function dropDamagedBlobs({ releases, content }: StageServices, digest: string): Promise<boolean> {
  const release = await releases.get(digest);
  let dropped = false;
  for (const blob of release?.blobs ?? []) dropped = (await content.verify(blob)) !== "intact" || dropped;
  releases.recheck();
  return dropped;
}

/** It has its name already. The previous set is no such case: wanted again, it becomes the staged one as well. */
function isMended({ store }: StageServices, set: SetRef): boolean {
  const { active, staged } = store.state;
  return [active, staged].some((named) => named?.manifestDigest === set.manifestDigest);
}

/** The bytes are what was signed and cannot be unpacked: trying again cannot help. */
function refuseArchive({ memory, logger }: StageServices, digest: string, code: string): void {
  const problem = errorNumber(code);
  const evidence: Evidence = { kind: "storage", reasonCode: "APPLY_FAILED", operation: "set", problem };
  logger.warn("archive is malformed", { set: digest, code });
  const final = { subject: digest, attempts: 1, retryAtMs: Number.POSITIVE_INFINITY, final: true };
  memory.update(() => ({ stage: { ...final, evidence: [evidence] } }));
}

/** From the acceptance of the assignment until everything was here. */
function downloadSec({ store, clock }: StageServices): number {
  const acceptedMs = store.state.accepted?.atMs;
  return acceptedMs === undefined ? 0 : Math.max(0, seconds(clock.wallMs() - acceptedMs));
}

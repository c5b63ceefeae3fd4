import { DiskError } from "@muto/kit/disk";
import type { GateContext } from "./safety/context.ts";
import { isAcknowledged } from "./safety/acknowledgement.ts";
import { judgeClock } from "./safety/clock-trust.ts";
import { evaluateGates } from "./safety/gates.ts";
import { isMetered } from "./safety/metered.ts";
import { noSamples, type SignalSamples } from "./safety/signals.ts";
import { storageEvidence } from "./effects/fetch.ts";
import type { Releases } from "./effects/releases.ts";
import { withEntry, withoutEntry, type Memory } from "./memory.ts";
import { clockNow } from "./offers.ts";
import type { Gates, KnownRelease, Observed } from "./reconcile/observed.ts";
import { neededMb } from "./reconcile/preparing.ts";
import type { AgentState } from "./reconcile/state.ts";
import type { AgentServices } from "./services.ts";

export interface ObserveServices extends Omit<AgentServices, "runtime"> {
  readonly runtime: Pick<AgentServices["runtime"], "inspect">;
  readonly memory: Memory;
  readonly releases: Releases;
}

/**
 * Reads the world once. An idle pass reads no file: manifests cannot change and are kept, and disk and signals are looked at
 * only while something is wanted that depends on them.
 */
export async function observe(services: ObserveServices, nextChangeId: string): Promise<Observed> {
  const { store, memory, runtime, config } = services;
  const { state } = store;
  const wanted = state.accepted?.assignment.stack.manifestDigest;
  const isWanting = wanted !== undefined && wanted !== state.active?.manifestDigest;
  const { announced, damaged } = memory.seen;
  const wantsSignals = announced !== null || (isWanting && config.signals.metered !== undefined);
  const samples = wantsSignals ? await services.signals.read() : noSamples;
  const now = clockNow(services);
  const judged = judgeClock(state.time, now);
  return {
    now: { bootId: services.bootId, monotonicMs: now.monotonicMs, wallMs: now.wallMs },
    trustedMs: judged.nowMs,
    nextChangeId,
    state,
    storage: store.fault === undefined ? "sound" : "faulted",
    releases: await knownReleases(services, wanted),
    instances: await runtime.inspect(),
    seen: memory.seen,
    metered: isWanting && isMetered(config.signals, samples, now),
    acknowledgement: acknowledgementOf(services, samples),
    disk: {
      freeMb: isWanting || state.rollback !== null || damaged.size > 0 ? await freeMb(services) : null,
      reserveMb: config.safety.diskReserveMb,
    },
    gates: undefined,
  };
}

/** All gates on signals that are read now; asked only when a step depends on them, and then at the last instant. */
export async function readGates(services: ObserveServices, observed: Observed): Promise<Gates> {
  const samples = await services.signals.read();
  const change = gateContext(services, samples, observed, "switch");
  return { switch: evaluateGates(change), stop: evaluateGates({ ...change, purpose: "stop" }) };
}

export function gateContext(
  services: Pick<AgentServices, "clock" | "bootId" | "config" | "store">,
  samples: SignalSamples,
  observed: Pick<Observed, "releases" | "disk">,
  purpose: GateContext["purpose"],
): GateContext {
  const { config, store } = services;
  const now = clockNow(services);
  const assignment = store.state.accepted?.assignment;
  const release = observed.releases.get(assignment?.stack.manifestDigest ?? "");
  return {
    purpose,
    samples,
    config,
    policy: assignment?.policy,
    clock: {
      monotonicMs: now.monotonicMs,
      wallMs: now.wallMs,
      trusted: judgeClock(store.state.time, now).trusted,
    },
    disk: { freeMb: observed.disk.freeMb, neededMb: release === undefined ? 0 : neededMb(release) },
  };
}

async function knownReleases(
  services: ObserveServices,
  wanted: string | undefined,
): Promise<ReadonlyMap<string, KnownRelease>> {
  const { store } = services;
  const named = namedSets(store.state);
  const known = new Map<string, KnownRelease>();
  for (const digest of new Set([...named, ...(wanted === undefined ? [] : [wanted])])) {
    const release = await readRelease(services, digest, named.has(digest));
    if (release !== undefined) known.set(digest, release);
  }
  return known;
}

/** A release that the disk does not give out is unknown for now, and noted; one bad sector must not keep others from being kept up. */
async function readRelease(
  { releases, memory, clock, logger }: ObserveServices,
  digest: string,
  prepared: boolean,
): Promise<KnownRelease | undefined> {
  const before = memory.seen.unreadable.get(digest);
  try {
    const release = await releases.get(digest);
    if (release === undefined) return undefined;
    const isWhole = prepared && !memory.seen.damaged.has(digest);
    const archiveBytes = release.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const missing = isWhole ? [] : await releases.missing(digest);
    if (before !== undefined) memory.update((seen) => ({ unreadable: withoutEntry(seen.unreadable, digest) }));
    return { manifest: release.manifest, archiveBytes, missing, prepared };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (before !== undefined) return undefined;
    logger.error("release cannot be read", { set: digest, code: error.code });
    const noted = { sinceMs: clock.monotonicMs(), evidence: storageEvidence("content", error) };
    memory.update((seen) => ({ unreadable: withEntry(seen.unreadable, digest, noted) }));
    return undefined;
  }
}

/** A set gets its name only after it was prepared and hashed. */
function namedSets(state: AgentState): ReadonlySet<string> {
  const { active, previous, staged, trial, rollback } = state;
  const sets = [active, previous, staged, trial?.set, trial?.from, rollback?.from, rollback?.to];
  return new Set(sets.flatMap((set) => (set === null || set === undefined ? [] : [set.manifestDigest])));
}

function acknowledgementOf({ config, memory }: ObserveServices, samples: SignalSamples): Observed["acknowledgement"] {
  const { acknowledgementRequired, acknowledgementTimeoutSec } = config.changeInProgress;
  const changeId = memory.seen.announced?.changeId;
  return {
    required: acknowledgementRequired,
    timeoutMs: acknowledgementTimeoutSec * 1000,
    changeId: changeId !== undefined && isAcknowledged(samples, changeId) ? changeId : null,
  };
}

async function freeMb({ sets }: ObserveServices): Promise<number | null> {
  try {
    return Math.floor((await sets.freeBytes()) / 1_000_000);
  } catch {
    // A disk that does not say how full it is counts as full: the gate closes on null.
    return null;
  }
}

import type { Evidence, Probe, StackManifest } from "@muto/spec";
import type { Instance, ProbeSeen } from "../ports.ts";
import { LIMITS } from "./limits.ts";
import type { Observed, ProbeSighting, ProbeSightings } from "./observed.ts";
import { readingOf } from "./readings.ts";
import { elapsedMs, type Instant, type ProbeBefore } from "./state.ts";
import { isInDoubt } from "./upkeep.ts";
import { isMet, isUp, runningOf, workloadState } from "./workloads.ts";

export type Readiness =
  | { readonly kind: "ready"; readonly afterSec: number }
  | { readonly kind: "waiting"; readonly leftMs: number }
  | { readonly kind: "timeout"; readonly evidence: readonly Evidence[] };

/**
 * Judges the set that was started: every workload up and every probe met, without a break, for `stableForSec`, within
 * `readinessTimeoutSec` of powered time since `since`. `excused` probes need not be met: the set that is being returned to
 * did not meet them before the change either (a garage without GNSS, H23).
 */
export function judgeReadiness(
  observed: Observed,
  set: string,
  manifest: StackManifest,
  since: Instant,
  before: readonly ProbeBefore[],
): Readiness {
  const { readinessTimeoutSec, stableForSec } = manifest.healthModel;
  const waitedMs = elapsedMs(observed.now, since) ?? 0;
  const { probes } = observed.seen;
  const readySinceMs = probes.set === set ? probes.readySinceMs : null;
  // What was seen before, or of instances that are gone, says nothing about what was started now.
  const isFresh = probes.lookedMs >= since.monotonicMs && areLookedAt(observed, set, manifest);
  if (readySinceMs !== null && isFresh && isUp(observed, set, manifest)) {
    const stableMs = probes.lookedMs - Math.max(readySinceMs, since.monotonicMs);
    if (stableMs >= stableForSec * 1000) return { kind: "ready", afterSec: seconds(waitedMs) };
  }
  const leftMs = readinessTimeoutSec * 1000 - waitedMs;
  if (leftMs > 0) return { kind: "waiting", leftMs };
  return { kind: "timeout", evidence: unmetEvidence(observed, set, manifest, seconds(waitedMs), before) };
}

/** Whether the last look saw, for every probe, the very instance that is there now. */
function areLookedAt(observed: Observed, set: string, manifest: StackManifest): boolean {
  return manifest.healthModel.probes.every((probe) => {
    const workload = manifest.workloads.find(({ name }) => name === probe.workload);
    const state = workload === undefined ? undefined : workloadState(observed, set, workload);
    const sighting = observed.seen.probes.byName.get(probe.name);
    return sighting !== undefined && sighting.instanceId === (state?.instance?.instanceId ?? null);
  });
}

/** Whether the last look is old enough for another one. */
export function isLookDue(observed: Observed, set: string, intervalMs: number): boolean {
  const { probes } = observed.seen;
  return probes.set !== set || observed.now.monotonicMs - probes.lookedMs >= intervalMs;
}

export function untilNextLookMs(observed: Observed, set: string, intervalMs: number): number {
  const { probes } = observed.seen;
  if (probes.set !== set) return 0;
  return Math.max(0, intervalMs - (observed.now.monotonicMs - probes.lookedMs));
}

/**
 * How long after the last look at the probes of a set that should be ready another one is due; undefined when it has none. What
 * waits for a dependency is looked for often; a hang at its own pace; what is only expected seldom, unless it is missed or the
 * graph has changed.
 */
export function lookIntervalMs(
  observed: Observed,
  set: string,
  manifest: StackManifest,
  isBlocked: boolean,
): number | undefined {
  if (isBlocked) return LIMITS.probeIntervalMs;
  const isRunning = runningOf(observed, (instance) => instance.set === set).length > 0;
  if (manifest.healthModel.probes.length === 0 || !isRunning) return undefined;
  const { upkeep, graphChangedMs, probes } = observed.seen;
  if (isInDoubt(upkeep) || (graphChangedMs !== null && graphChangedMs >= probes.lookedMs)) return LIMITS.driftRelookMs;
  const isUrgent = hasLiveness(manifest) || observed.state.outcome?.kind === "failed";
  return isUrgent ? LIMITS.livenessIntervalMs : LIMITS.driftLookMs;
}

/** Names of probes that the old stack did not meet just before the switch. */
export function excusedProbes(before: readonly ProbeBefore[]): ReadonlySet<string> {
  return new Set(before.filter(({ met }) => !met).map(({ probe }) => probe));
}

/** Every probe with its last observation, the unmet ones first; and every workload that is not up. */
export function unmetEvidence(
  observed: Observed,
  set: string,
  manifest: StackManifest,
  waitedSec: number,
  before: readonly ProbeBefore[],
): readonly Evidence[] {
  const { probes } = observed.seen;
  const down = manifest.workloads.filter((workload) => workloadState(observed, set, workload).kind === "dead");
  const sighted = manifest.healthModel.probes.map((probe): Extract<Evidence, { kind: "probe" }> => {
    const sighting = probes.set === set ? probes.byName.get(probe.name) : undefined;
    return {
      kind: "probe",
      reasonCode: "READINESS_TIMEOUT",
      ...readingOf(observed, set, probe),
      before: before.find((known) => known.probe === probe.name)?.met ?? null,
      attempts: sighting?.looks ?? 0,
      waitedSec,
    };
  });
  return [
    ...down.map(({ name }): Evidence => {
      const exits = observed.state.exits.filter((exit) => exit.set === set && exit.workload === name);
      const last = exits.at(-1);
      return {
        kind: "workload",
        reasonCode: "READINESS_TIMEOUT",
        workload: name,
        problem: last === undefined || last.signal === null ? "exited" : "killed",
        exitCode: last?.code ?? null,
        signal: last?.signal ?? null,
        exits: exits.length,
        windowSec: manifest.healthModel.windowSec,
      };
    }),
    ...sighted.toSorted((a, b) => Number(a.met) - Number(b.met)),
  ];
}

/** A running instance whose liveness probes were missed too often in a row (H24). */
export function hangingInstance(observed: Observed, set: string, manifest: StackManifest): Instance | undefined {
  const live = manifest.healthModel.probes.filter((probe) => probe.liveness);
  for (const probe of live) {
    const workload = manifest.workloads.find(({ name }) => name === probe.workload);
    if (workload === undefined) continue;
    const state = workloadState(observed, set, workload);
    if (state.kind !== "running") continue;
    const sighting = observed.seen.probes.set === set ? observed.seen.probes.byName.get(probe.name) : undefined;
    if (sighting?.instanceId !== state.instance.instanceId) continue;
    if (isMissedTooLong(sighting, observed.seen.probes.lookedMs)) return state.instance;
  }
  return undefined;
}

/** So many looks in a row, however close together they were made: a look more often must not make a workload hang sooner. */
function isMissedTooLong({ misses, missedSinceMs }: ProbeSighting, lookedMs: number): boolean {
  if (missedSinceMs === null || misses < LIMITS.livenessMisses) return false;
  return lookedMs - missedSinceMs >= (LIMITS.livenessMisses - 1) * LIMITS.livenessIntervalMs;
}

function hasLiveness(manifest: StackManifest): boolean {
  return manifest.healthModel.probes.some((probe) => probe.liveness);
}

/** One look at all probes of a set, added to what was seen before. Pure: the looking itself is an effect. */
export function addLook(
  before: ProbeSightings,
  look: {
    readonly set: string;
    readonly atMs: number;
    readonly isUp: boolean;
    readonly excused: ReadonlySet<string>;
    readonly results: readonly {
      readonly probe: Probe;
      readonly instanceId: string | null;
      readonly last: ProbeSeen;
    }[];
  },
): ProbeSightings {
  const known = before.set === look.set ? before : undefined;
  const byName = new Map(
    look.results.map(({ probe, instanceId, last }): readonly [string, ProbeSighting] => {
      const earlier = known?.byName.get(probe.name);
      const same = earlier?.instanceId === instanceId ? earlier : undefined;
      return [
        probe.name,
        { instanceId, last, looks: (earlier?.looks ?? 0) + 1, ...missesAfter(same, last, look.atMs) },
      ];
    }),
  );
  const isSame = look.results.every(
    ({ probe, instanceId }) => known?.byName.get(probe.name)?.instanceId === instanceId,
  );
  const ready = look.isUp && look.results.every(({ probe, last }) => last.met || look.excused.has(probe.name));
  return {
    set: look.set,
    lookedMs: look.atMs,
    readySinceMs: ready ? ((isSame ? known?.readySinceMs : null) ?? look.atMs) : null,
    looks: (known?.looks ?? 0) + 1,
    byName,
  };
}

/** What could not be looked at proves no hang (H24): a provider of the graph that is away must not stop what runs. */
const UNDECIDED: ReadonlySet<ProbeSeen["problem"]> = new Set(["not-seen", "unsupported", "window-not-full"]);

function missesAfter(
  before: ProbeSighting | undefined,
  { met, problem }: ProbeSeen,
  atMs: number,
): Pick<ProbeSighting, "misses" | "missedSinceMs" | "unmetSinceMs"> {
  if (met) return { misses: 0, missedSinceMs: null, unmetSinceMs: null };
  const { misses = 0, missedSinceMs = null } = before ?? {};
  const unmetSinceMs = before?.unmetSinceMs ?? atMs;
  if (UNDECIDED.has(problem)) return { misses, missedSinceMs, unmetSinceMs };
  return { misses: misses + 1, missedSinceMs: missedSinceMs ?? atMs, unmetSinceMs };
}

/** Whether a set is up and, as of the last look, meets every probe that is not excused. */
export function isReadyNow(observed: Observed, set: string, manifest: StackManifest): boolean {
  if (!isUp(observed, set, manifest)) return false;
  return manifest.healthModel.probes.every((probe) => {
    const workload = manifest.workloads.find(({ name }) => name === probe.workload);
    const state = workload === undefined ? undefined : workloadState(observed, set, workload);
    return isMet(observed, set, probe, state?.instance);
  });
}

export function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}

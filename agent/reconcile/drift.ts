import type { Drift, DriftKind, Probe, ProbeProblem, StackManifest } from "@muto/spec";
import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { readingOf } from "./readings.ts";
import { keptUpSet } from "./upkeep.ts";
import { runningOf } from "./workloads.ts";

/** A list that fits into a report; what is more would say nothing new. */
const DRIFT_MAX = 64;

/**
 * What is no longer as it was when the set became ready; empty when all of it is. Undefined while nobody can say: during a
 * change, and after a start of the agent until every expectation was watched for long enough.
 */
export function driftOf(observed: Observed): readonly Drift[] | undefined {
  const set = keptUpSet(observed.state);
  const manifest = observed.releases.get(set ?? "")?.manifest;
  if (set === null || manifest === undefined) return undefined;
  const ofProbes = probeDrift(observed, set, manifest);
  if (ofProbes === undefined || !isJudged(observed, set)) return undefined;
  return [...filesDrift(observed, set), ...foreignDrift(observed, set), ...ofProbes].slice(0, DRIFT_MAX);
}

/**
 * Equal texts are the same drift: short, because it is kept with what was reported last. A probe counts once, whatever is wrong
 * with it at the moment.
 */
export function driftKey(drift: readonly Drift[], manifest: StackManifest | undefined): string {
  const probes = manifest?.healthModel.probes.map(({ name }) => name) ?? [];
  return drift
    .map(({ drift: kind, probe }) => (probe === null ? kind : `p${probes.indexOf(probe)}`))
    .toSorted()
    .join(",");
}

function probeDrift(observed: Observed, set: string, manifest: StackManifest): readonly Drift[] | undefined {
  const { probes } = manifest.healthModel;
  const { upkeep } = observed.seen;
  if (probes.length === 0) return [];
  if (upkeep.set !== set) return undefined;
  const watched = probes.map((probe) => ({ probe, known: upkeep.expectations.get(probe.name) }));
  if (watched.some(({ known }) => known?.judged !== true)) return undefined;
  return watched.flatMap(({ probe, known }): readonly Drift[] => {
    const sinceMs = known?.driftSinceWallMs ?? null;
    if (sinceMs === null) return [];
    const { required, seen, ageMs, problem } = readingOf(observed, set, probe);
    const drift = kindOf(probe, problem ?? known?.problem ?? null);
    const since = new Date(sinceMs).toISOString();
    return [{ drift, workload: probe.workload, probe: probe.name, required, seen, since, ageMs }];
  });
}

/** Bytes are hashed once a day, and before they are started; whole until a look says otherwise. */
function isJudged({ state, seen }: Observed, set: string): boolean {
  if (state.active?.manifestDigest !== set) return true;
  return state.rollbackVerifiedAtMs !== null || seen.damaged.has(set) || state.trial !== null;
}

function filesDrift({ seen, now }: Observed, set: string): readonly Drift[] {
  if (!seen.damaged.has(set)) return [];
  const since = new Date(seen.damagedSince.get(set) ?? now.wallMs).toISOString();
  return [
    { drift: "files-changed", workload: null, probe: null, set, required: true, seen: false, since, ageMs: null },
  ];
}

/** Bears our mark, runs beside the set that should run, and has not just been started by a change that is being undone. */
function foreignDrift(observed: Observed, set: string): readonly Drift[] {
  const others = runningOf(observed, (instance) => instance.set !== set);
  return others
    .filter(({ startedAtMs }) => observed.now.wallMs - startedAtMs >= LIMITS.driftAfterMs)
    .map(({ set: of, workload, startedAtMs }) => {
      const since = new Date(startedAtMs).toISOString();
      return {
        drift: "foreign-instance",
        workload,
        probe: null,
        set: of,
        required: false,
        seen: true,
        since,
        ageMs: 0,
      };
    });
}

/** What it means that a probe which was met is not any more. */
function kindOf(probe: Probe, problem: ProbeProblem | null): DriftKind {
  if (problem === "not-running") return "workload-down";
  if (problem === "not-seen" || problem === "unsupported") return "unseen";
  switch (probe.kind) {
    case "process":
      return "workload-down";
    case "http":
    case "tcp":
      return "endpoint-failing";
    case "log":
      return "log-unexpected";
    case "node":
      return "node-left";
    case "topic":
      return problem === "too-few-publishers"
        ? "publishers-lost"
        : problem === "too-old"
          ? "topic-stale"
          : "topic-slow";
    case "lifecycle":
      return problem === "absent" ? "node-left" : "lifecycle-changed";
    case "service":
      return "service-failing";
    case "diagnostics":
      return "diagnostics";
  }
}

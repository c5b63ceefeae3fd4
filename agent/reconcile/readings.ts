import type { Probe, ProbeReading } from "@muto/spec";
import type { Observed } from "./observed.ts";
import { selectedSet } from "./state.ts";

/** The last look at every probe of the selected set, in the order of its manifest; empty while none was looked at. */
export function readingsOf(observed: Observed): readonly ProbeReading[] {
  const set = selectedSet(observed.state)?.manifestDigest;
  const manifest = observed.releases.get(set ?? "")?.manifest;
  if (set === undefined || manifest === undefined || observed.seen.probes.set !== set) return [];
  return manifest.healthModel.probes.map((probe) => readingOf(observed, set, probe));
}

/** The last look at one probe of a set, by now; `not-seen` when there was none. */
export function readingOf(observed: Observed, set: string, probe: Probe): ProbeReading {
  const { probes } = observed.seen;
  const last = probes.set === set ? probes.byName.get(probe.name)?.last : undefined;
  const about = { probe: probe.name, workload: probe.workload, probeKind: probe.kind };
  if (last === undefined) return { ...about, met: false, problem: "not-seen", required: null, seen: null, ageMs: null };
  const { met, problem, required, seen } = last;
  const sinceLookMs = Math.max(0, observed.now.monotonicMs - probes.lookedMs);
  const ageMs = last.ageMs === null ? null : Math.round(last.ageMs + sinceLookMs);
  return { ...about, met, ...(problem !== null && { problem }), required, seen, ageMs };
}

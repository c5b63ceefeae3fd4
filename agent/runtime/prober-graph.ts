import type { Probe, ProbeProblem, ProbeValue } from "@muto/spec";
import type { GraphProbe } from "../reconcile/graph-probe.ts";
import type { DiagnosticSeen, GraphReader, ProbeSeen, TopicSeen } from "../ports.ts";

/** Asked for to learn whether the graph can be seen at all. */
const NOBODY = "/muto";

/** lifecycle_msgs/msg/State. */
const STATES = { unconfigured: 1, inactive: 2, active: 3, finalized: 4 } as const;

/** diagnostic_msgs/msg/DiagnosticStatus; STALE (3) is above every limit. */
const LEVELS = { ok: 0, warn: 1, error: 2 } as const;

/** One look through the vehicle's provider. Resolves when the signal aborts, at the latest; never rejects. */
export async function lookAtGraph(probe: GraphProbe, graph: GraphReader, signal: AbortSignal): Promise<ProbeSeen> {
  const within = async <T>(answer: Promise<T | null>) => await Promise.race([answer, aborted(signal)]);
  switch (probe.kind) {
    case "node":
      return judge(true, await within(graph.node(probe.node, signal)), "absent");
    case "service": {
      // A service that is gone or hangs says nothing, as does a provider that is away; only then the graph cannot be seen either.
      const [success, isThere] = await Promise.all([
        within(graph.trigger(probe.service, signal)),
        within(graph.node(NOBODY, signal)),
      ]);
      if (success === null && isThere !== null) return notMet("unreachable", true, null, null);
      return judge(true, success, "refused");
    }
    case "lifecycle": {
      const required = STATES[probe.state];
      const [state, isThere] = await Promise.all([
        within(graph.lifecycle(probe.node, signal)),
        within(graph.node(probe.node, signal)),
      ]);
      if (isThere === false) return notMet("absent", required, null, null);
      return judge(required, state, "wrong-state");
    }
    case "topic": {
      const { topic, messageType, windowSec } = probe;
      return judgeTopic(probe, await within(graph.topic({ topic, messageType, windowSec }, signal)));
    }
    case "diagnostics":
      return judgeDiagnostics(probe, await within(graph.diagnostics(signal)));
  }
}

/**
 * Publishers first, then age, then rate: the first that is wrong explains the ones after it. While the window is not full a
 * rate proves nothing, neither a low one nor a high one.
 */
export function judgeTopic(probe: Extract<Probe, { kind: "topic" }>, seen: TopicSeen | null): ProbeSeen {
  const { publishersMin, ageSecMax, hzMin } = probe;
  if (seen === null) return notMet("not-seen", hzMin ?? publishersMin, null, null);
  const { publishers, ageMs, hz, isWindowFull } = seen;
  if (publishers < publishersMin) return notMet("too-few-publishers", publishersMin, publishers, ageMs);
  if (ageSecMax !== undefined && (ageMs === null || ageMs > ageSecMax * 1000)) {
    return notMet("too-old", ageSecMax * 1000, ageMs, ageMs);
  }
  if (hzMin === undefined) {
    return ageSecMax === undefined ? met(publishersMin, publishers, ageMs) : met(ageSecMax * 1000, ageMs, ageMs);
  }
  if (!isWindowFull) return notMet("window-not-full", hzMin, rounded(hz), ageMs);
  return hz < hzMin ? notMet("too-slow", hzMin, rounded(hz), ageMs) : met(hzMin, rounded(hz), ageMs);
}

/**
 * A named status, or the worst of all that are young enough: what an aggregator no longer publishes does not count for ever,
 * and what it should hear and does not it calls STALE itself.
 */
export function judgeDiagnostics(
  probe: Extract<Probe, { kind: "diagnostics" }>,
  all: readonly DiagnosticSeen[] | null,
): ProbeSeen {
  const levelMax = LEVELS[probe.levelMax];
  if (all === null) return notMet("not-seen", levelMax, null, null);
  const asked = probe.status === undefined ? all : all.filter(({ name }) => name === probe.status);
  const youngest = asked.toSorted((a, b) => a.ageMs - b.ageMs)[0];
  if (youngest === undefined) return notMet("absent", levelMax, null, null);
  const ageMsMax = probe.ageSecMax * 1000;
  const fresh = asked.filter(({ ageMs }) => ageMs <= ageMsMax);
  const worst = fresh.toSorted((a, b) => b.level - a.level)[0];
  if (worst === undefined) return notMet("too-old", ageMsMax, youngest.ageMs, youngest.ageMs);
  const { level, ageMs } = worst;
  return level > levelMax ? notMet("level-too-high", levelMax, level, ageMs) : met(levelMax, level, ageMs);
}

function judge<T extends number | boolean>(required: T, seen: T | null, problem: ProbeProblem): ProbeSeen {
  if (seen === null) return notMet("not-seen", required, null, null);
  return seen === required ? met(required, seen, 0) : notMet(problem, required, seen, 0);
}

export function met(required: ProbeValue, seen: ProbeValue, ageMs: number | null): ProbeSeen {
  return { met: true, problem: null, required, seen, ageMs };
}

export function notMet(problem: ProbeProblem, required: ProbeValue, seen: ProbeValue, ageMs: number | null): ProbeSeen {
  return { met: false, problem, required, seen, ageMs };
}

function rounded(hz: number): number {
  return Math.round(hz * 100) / 100;
}

function aborted(signal: AbortSignal): Promise<null> {
  if (signal.aborted) return Promise.resolve(null);
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(null), { once: true }));
}

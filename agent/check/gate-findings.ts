import type { AgentView, GateEvidence } from "@muto/spec";
import type { Finding } from "./finding.ts";

/** How old a signal may be, by one provider, before it counts as unknown. */
export interface Freshness {
  readonly provider: string;
  readonly signal: NonNullable<GateEvidence["signal"]>;
  readonly freshForSec: number;
  readonly optional: boolean;
}

/** What nobody can know closes a gate for ever; what is seen closes it only for now. One line for each, however often it is said. */
export function gateFindings(gate: AgentView["gate"], freshness: readonly Freshness[]): readonly Finding[] {
  if (gate.open) return [{ about: "gates", verdict: "ok", says: "open: a change could start now" }];
  const lines = new Map<string, Finding>();
  for (const evidence of [...gate.refusals].sort(leastFirst)) {
    if (evidence.kind !== "gate") continue;
    const { reasonCode, signal, source, required, problem } = evidence;
    const key = JSON.stringify([reasonCode, signal, source, problem, required]);
    if (!lines.has(key)) lines.set(key, gateFinding(evidence, freshness));
  }
  return [...lines.values()];
}

/** Two axes of one provider both say how long it has stood; the shorter time is the one that the gate waits for. */
function leastFirst(a: AgentView["gate"]["refusals"][number], b: AgentView["gate"]["refusals"][number]): number {
  if (a.kind !== "gate" || b.kind !== "gate" || a.signal !== "standstill" || b.signal !== "standstill") return 0;
  return Number(a.seen) - Number(b.seen);
}

function gateFinding(evidence: GateEvidence, freshness: readonly Freshness[]): Finding {
  const { reasonCode, gate, signal, source, required, seen, ageMs, problem } = evidence;
  const from = source === undefined ? "" : ` from ${source}`;
  const what = `${reasonCode} ${signal ?? gate}${from}`;
  const age = ageMs === null ? "" : `, ${secondsText(ageMs)} old`;
  if (problem === "missing" || problem === "malformed" || problem === "stale") {
    const limit = freshness.find((one) => one.provider === source && one.signal === signal);
    const needed =
      limit === undefined ? `needed ${withUnit(required, signal)}` : `must be heard anew within ${limit.freshForSec} s`;
    return { about: "gates", verdict: "fail", says: `${what}: ${problem}${age}; ${needed}` };
  }
  const bound = typeof required === "number" ? BOUNDS[signal ?? "clock"] : "must be";
  const says = `${what}: ${withUnit(seen, signal)}${age}; ${bound} ${withUnit(required, signal)}`;
  return { about: "gates", verdict: "wait", says };
}

export function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function withUnit(value: GateEvidence["seen"], signal: GateEvidence["signal"]): string {
  const unit = typeof value === "number" && signal !== undefined ? UNITS[signal] : "";
  return value === null ? "unknown" : `${String(value)}${unit === "" ? "" : ` ${unit}`}`;
}

const UNITS: Readonly<Record<NonNullable<GateEvidence["signal"]>, string>> = {
  speed: "m/s",
  "angular-speed": "rad/s",
  standstill: "s",
  parked: "",
  mode: "",
  battery: "%",
  clock: "",
  window: "",
  disk: "MB",
  hold: "",
  "change-acknowledged": "",
};

const BOUNDS: Readonly<Record<NonNullable<GateEvidence["signal"]>, string>> = {
  speed: "must be below",
  "angular-speed": "must be below",
  standstill: "must be at least",
  parked: "must be",
  mode: "must be",
  battery: "must be at least",
  clock: "must be",
  window: "must be",
  disk: "must be at least",
  hold: "must be",
  "change-acknowledged": "must be",
};

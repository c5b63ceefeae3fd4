import type { Drift, Evidence, ProbeReading, ProbeValue } from "@muto/spec";
import { ago, table } from "./table.ts";

const LIFECYCLE = ["unknown", "unconfigured", "inactive", "active", "finalized"];
const LEVELS = ["OK", "WARN", "ERROR", "STALE"];

/** Every probe as it was looked at last, the ones that are not met first; empty text when there is none. */
export function probesText(readings: readonly ProbeReading[]): string {
  if (readings.length === 0) return "";
  const sorted = readings.toSorted((a, b) => Number(a.met) - Number(b.met));
  return table(
    ["probe", "kind", "workload", "met", "seen", "needed", "age"],
    sorted.map((reading) => [
      reading.probe,
      reading.probeKind,
      reading.workload,
      reading.met ? "yes" : `no: ${reading.problem ?? "unknown"}`,
      valueText(reading, reading.seen),
      valueText(reading, reading.required),
      reading.ageMs === null ? "-" : `${(reading.ageMs / 1000).toFixed(1)} s`,
    ]),
  );
}

/** `node-left planner (planner-there): seen no, needed yes, since 3 min ago` */
export function driftText({ drift, workload, probe, seen, required, since }: Drift, nowMs: number): string {
  const where = [workload, probe === null ? null : `(${probe})`].filter((part) => part !== null).join(" ");
  const numbers = `seen ${plain(seen)}, needed ${plain(required)}`;
  return `${[drift, where].filter((part) => part !== "").join(" ")}: ${numbers}, since ${ago(since, nowMs)}`;
}

/** A piece of evidence in words where there are any, else as it is. */
export function evidenceText(evidence: Evidence): string {
  if (evidence.kind !== "probe") return JSON.stringify(evidence);
  const { probe, probeKind, workload, met, problem, required = null, seen = null, ageMs = null, before } = evidence;
  const verdict = met ? "met" : (problem ?? "not met");
  const reading = { probeKind, ...(problem !== undefined && { problem }) };
  const numbers = `seen ${valueText(reading, seen)}, needed ${valueText(reading, required)}`;
  const age = ageMs === null ? "" : `, ${(ageMs / 1000).toFixed(1)} s old`;
  const then = before === null ? "" : `; before the change it was ${before ? "met" : "not met either"}`;
  return `probe ${probe} (${probeKind}${workload === undefined ? "" : ` of ${workload}`}): ${verdict}, ${numbers}${age}${then}`;
}

/** The number with its unit, which follows from the kind of the probe and from what is wrong. */
function valueText({ probeKind, problem }: Pick<ProbeReading, "probeKind" | "problem">, value: ProbeValue): string {
  if (typeof value !== "number") return plain(value);
  if (problem === "too-old") return `${value} ms`;
  switch (probeKind) {
    case "lifecycle":
      return LIFECYCLE[value] ?? String(value);
    case "diagnostics":
      return LEVELS[value] ?? String(value);
    case "topic":
      return problem === "too-slow" || problem === "window-not-full" ? `${value} Hz` : String(value);
    case "process":
    case "http":
    case "tcp":
    case "log":
    case "node":
    case "service":
      return String(value);
  }
}

function plain(value: ProbeValue): string {
  if (value === null) return "nothing";
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

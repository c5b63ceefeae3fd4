import type { Drift, ProbeReading, ProbeValue } from "@muto/spec";
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

/** The number with its unit, which follows from the kind of the probe and from what is wrong. */
function valueText({ probeKind, problem }: ProbeReading, value: ProbeValue): string {
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

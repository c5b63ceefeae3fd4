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
  switch (evidence.kind) {
    case "probe":
      return probeText(evidence);
    case "gate":
      return gateText(evidence);
    case "quarantine":
      return `the release ${evidence.digest} is in quarantine there since ${evidence.since}; a rollout with --retry lifts that`;
    case "verification":
    case "compatibility":
    case "download":
    case "workload":
    case "storage":
    case "rollback":
    case "confirmation":
    case "output-tail":
      return JSON.stringify(evidence);
  }
}

function probeText(evidence: Extract<Evidence, { readonly kind: "probe" }>): string {
  const { probe, probeKind, workload, met, problem, required = null, seen = null, ageMs = null, before } = evidence;
  const verdict = met ? "met" : (problem ?? "not met");
  const reading = { probeKind, ...(problem !== undefined && { problem }) };
  const numbers = `seen ${valueText(reading, seen)}, needed ${valueText(reading, required)}`;
  const then = before === null ? "" : `; before the change it was ${before ? "met" : "not met either"}`;
  return `probe ${probe} (${probeKind}${workload === undefined ? "" : ` of ${workload}`}): ${verdict}, ${numbers}${ageText(ageMs)}${then}`;
}

/** `speed from gateway: stale, 3.5 s old`; the numbers only where something was seen. */
function gateText(evidence: Extract<Evidence, { readonly kind: "gate" }>): string {
  const { gate, signal = gate, source, problem, required, seen, ageMs } = evidence;
  const numbers =
    seen === null ? [] : [`seen ${plain(seen)}`, ...(required === null ? [] : [`needed ${plain(required)}`])];
  const said = [...(problem === undefined ? [] : [problem]), ...numbers];
  const verdict = said.length === 0 ? "missing" : said.join(", ");
  return `${signal}${source === undefined ? "" : ` from ${source}`}: ${verdict}${ageText(ageMs)}`;
}

function ageText(ageMs: number | null): string {
  return ageMs === null ? "" : `, ${(ageMs / 1000).toFixed(1)} s old`;
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

function plain(value: ProbeValue | string): string {
  if (value === null) return "nothing";
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

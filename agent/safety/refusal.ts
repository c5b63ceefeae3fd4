import type { GateEvidence, ReasonCode } from "@muto/spec";
import type { UnseenReading } from "./readings.ts";

/** The codes with which the vehicle says "not now". */
export type DenyCode = Extract<
  ReasonCode,
  | "DENY_MOVING"
  | "DENY_AUTONOMOUS_MODE"
  | "DENY_LOW_BATTERY"
  | "DENY_OUTSIDE_WINDOW"
  | "INSUFFICIENT_DISK"
  | "DENY_LOCAL_HOLD"
>;

/** One reason why a gate is closed, with what was required and what was seen. */
export interface Refusal {
  readonly reasonCode: DenyCode;
  readonly evidence: GateEvidence;
}

type Details = Pick<GateEvidence, "signal" | "problem" | "source" | "required" | "seen" | "ageMs">;

/** Fills in what follows from the code: each gate has exactly one. */
export function refuse(reasonCode: DenyCode, details: Details): Refusal {
  return { reasonCode, evidence: { kind: "gate", reasonCode, gate: GATES[reasonCode], ...details } };
}

/** A provider that says nothing which may be believed closes the gate with the gate's own code. */
export function refuseUnseen(
  reasonCode: DenyCode,
  signal: NonNullable<GateEvidence["signal"]>,
  required: GateEvidence["required"],
  readings: readonly UnseenReading[],
): readonly Refusal[] {
  return readings.map(({ provider, problem, ageMs }) =>
    refuse(reasonCode, { signal, problem, source: provider, required, seen: null, ageMs }),
  );
}

/** The vehicle's own configuration says that it has no such signal, and demands what only that signal could show. */
export function refuseAbsent(
  reasonCode: DenyCode,
  signal: NonNullable<GateEvidence["signal"]>,
  required: GateEvidence["required"],
): Refusal {
  return refuse(reasonCode, { signal, problem: "missing", required, seen: null, ageMs: null });
}

const GATES: Readonly<Record<DenyCode, GateEvidence["gate"]>> = {
  DENY_MOVING: "moving",
  DENY_AUTONOMOUS_MODE: "autonomous-mode",
  DENY_LOW_BATTERY: "battery",
  DENY_OUTSIDE_WINDOW: "window",
  INSUFFICIENT_DISK: "disk",
  DENY_LOCAL_HOLD: "local-hold",
};

import type { SignalLine, SignalMapping } from "@muto/spec";
import { isUnderManualControl } from "../safety/hear.ts";
import type { SignalKey, SignalValues, StandingKey, VehicleMode } from "../safety/signals.ts";
import { KEY_OF } from "./mapping.ts";

/** What one field of a message means for one signal. */
export type Meaning =
  | { readonly kind: "value"; readonly value: MeantValue }
  /** Nothing against, and nothing for. */
  | { readonly kind: "clear" }
  /** The message itself does not know (NaN), or says what nobody has explained. */
  | { readonly kind: "unknown" }
  /** Not what the mapping says that it is. */
  | { readonly kind: "malformed" };

export type MeantValue = SignalValues[SignalKey];

/** Limits at or above which speed and yaw rate are motion, in m/s and rad/s. */
export type MotionLimits = Readonly<Record<StandingKey, number>>;

/**
 * The meaning of the fields that a mapping names, in its order; undefined stands for a field that the message does not have.
 * Unknown numbers and unexplained enumerations are unknown and close gates; a wrong unit is malformed, so that a battery's 87 is
 * not taken for 8700 percent.
 */
export function meaningOf(mapping: SignalMapping, fields: readonly unknown[]): Meaning {
  if (fields.some((field) => field === undefined)) return { kind: "malformed" };
  if (fields.some((field) => field === null)) return { kind: "unknown" };
  switch (mapping.signal) {
    case "speed":
    case "yawRate":
    case "battery":
      return numberOf(mapping, fields);
    case "changeAcknowledged": {
      const [id] = fields;
      return typeof id === "string" ? { kind: "value", value: id } : { kind: "malformed" };
    }
    case "mode": {
      const said = explained(mapping, fields);
      return typeof said === "boolean" ? { kind: "malformed" } : modeOf(said);
    }
    case "parked":
    case "charging":
    case "metered":
      return booleanOf(mapping, fields, (value) => value);
    case "hold":
      return booleanOf(mapping, fields, (held) => ({ held }));
  }
}

/** Whether a value of a signal closes a gate by itself, whatever the others say. */
export function isClosing(key: SignalKey, value: MeantValue, limits: MotionLimits): boolean {
  switch (key) {
    case "speedMps":
    case "yawRateRadps":
      return !(typeof value === "number" && Math.abs(value) < limits[key]);
    case "parked":
      return value !== true;
    case "mode":
      return !(isMode(value) && isUnderManualControl(value));
    case "hold":
      return !(typeof value === "object" && !value.held);
    case "metered":
      return value !== false;
    case "batteryPct":
    case "charging":
    case "changeAcknowledged":
      return false;
  }
}

/** The higher, the more restrictive; only values of one signal compare. */
export function restrictionOf(key: SignalKey, value: MeantValue): number {
  switch (key) {
    case "speedMps":
    case "yawRateRadps":
      return typeof value === "number" ? Math.abs(value) : Number.POSITIVE_INFINITY;
    case "batteryPct":
      return typeof value === "number" ? -value : Number.POSITIVE_INFINITY;
    case "parked":
    case "charging":
      return value === true ? 0 : 1;
    case "metered":
      return value === false ? 0 : 1;
    case "hold":
      return typeof value === "object" && !value.held ? 0 : 1;
    case "mode":
      return isMode(value) ? MODES.indexOf(value) : Number.POSITIVE_INFINITY;
    case "changeAcknowledged":
      return 0;
  }
}

/** A line with one key. Whether the value is within the contract's bounds is for the contract's own parser to say. */
export function lineOf(key: SignalKey, value: MeantValue | null): unknown {
  return { kind: "muto.signals/v1", [key]: value } satisfies Pick<SignalLine, "kind">;
}

/** From the least to the most restrictive. */
const MODES = [
  "manual",
  "stopped",
  "transition",
  "autonomous",
  "minimal-risk-manoeuvre",
] as const satisfies readonly VehicleMode[];

function isMode(value: unknown): value is VehicleMode {
  return MODES.some((mode) => mode === value);
}

function modeOf(said: string | undefined): Meaning {
  if (said === "clear") return { kind: "clear" };
  return isMode(said) ? { kind: "value", value: said } : { kind: "unknown" };
}

function numberOf(
  { scale, offset, rawMin = -Infinity, rawMax = Infinity, path }: SignalMapping,
  fields: readonly unknown[],
): Meaning {
  const numbers: number[] = [];
  for (const field of fields) {
    if (typeof field !== "number" && typeof field !== "bigint") return { kind: "malformed" };
    const raw = Number(field);
    if (Number.isNaN(raw) || !Number.isFinite(raw)) return { kind: "unknown" };
    if (!(raw >= rawMin && raw <= rawMax)) return { kind: "malformed" };
    numbers.push(raw * scale + offset);
  }
  const value = path.length === 1 ? numbers[0] : Math.hypot(...numbers);
  return value === undefined ? { kind: "malformed" } : { kind: "value", value };
}

function booleanOf(mapping: SignalMapping, fields: readonly unknown[], make: (value: boolean) => MeantValue): Meaning {
  const said = explained(mapping, fields);
  if (typeof said === "boolean") return { kind: "value", value: make(said) };
  if (said === "clear") return { kind: "clear" };
  return said === undefined && mapping.values !== undefined ? { kind: "unknown" } : { kind: "malformed" };
}

/** What the mapping says that these values mean; without a table a single boolean stands for itself. Undefined: not explained. */
function explained({ values }: SignalMapping, fields: readonly unknown[]): boolean | string | undefined {
  const [first] = fields;
  if (values === undefined) return fields.length === 1 && typeof first === "boolean" ? first : undefined;
  const key = fields.map((field) => (isScalar(field) ? String(field) : "\u0000")).join(",");
  return values.find(({ when }) => when.some((value) => String(value) === key))?.means;
}

function isScalar(field: unknown): field is string | number | bigint | boolean {
  return ["string", "number", "bigint", "boolean"].includes(typeof field);
}

export function keyOf({ signal }: Pick<SignalMapping, "signal">): SignalKey {
  return KEY_OF[signal];
}

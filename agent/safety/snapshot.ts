import type { SafetySnapshot, SeenBoolean, SeenNumber, SignalSource } from "@muto/spec";
import type { GateContext } from "./context.ts";
import { isUnderManualControl, yawRateSource } from "./hear.ts";
import { isAbsent, readSource, type Readings } from "./readings.ts";
import type { SignalKey, SignalValues } from "./signals.ts";
import { judgeWindow } from "./window.ts";

/** The combined signals for people to read: the most restrictive value that is seen, null where a gate could not rely on it. */
export function snapshotOf(context: GateContext): SafetySnapshot {
  return {
    moving: moving(context),
    autonomousMode: autonomousMode(context),
    batteryPct: batteryPct(context),
    insideWindow: insideWindow(context),
  };
}

/** True as soon as one provider says so; false only when every required one says no. */
function moving(context: GateContext): SeenBoolean {
  const { safety, signals } = context.config;
  const speed = read(context, "speedMps", signals.speed);
  const yawRate = read(context, "yawRateRadps", yawRateSource(signals));
  return anyOf([
    judged(speed, (value) => !(Math.abs(value) < safety.speedMpsMax)),
    judged(yawRate, (value) => !(Math.abs(value) < safety.yawRateRadpsMax)),
  ]);
}

function autonomousMode(context: GateContext): SeenBoolean {
  const mode = read(context, "mode", context.config.signals.mode);
  return anyOf([judged(mode, (value) => !isUnderManualControl(value))]);
}

function batteryPct(context: GateContext): SeenNumber {
  const readings = read(context, "batteryPct", context.config.signals.battery);
  if (readings === undefined) return { value: null, ageMs: null };
  const lowest = readings.seen.toSorted((a, b) => a.value - b.value)[0];
  if (lowest === undefined || readings.missed.length > 0) return { value: null, ageMs: ageOfUnseen(readings) };
  return { value: lowest.value, ageMs: lowest.ageMs };
}

/** Without a window every time is inside; without a trusted clock nobody knows. */
function insideWindow(context: GateContext): SeenBoolean {
  const window = context.policy?.applyWindow;
  if (window === undefined) return { value: true, ageMs: 0 };
  if (!context.clock.trusted) return { value: null, ageMs: null };
  const { kind } = judgeWindow(window, context.config.vehicle.timezone, context.clock.wallMs);
  return kind === "unknown" ? { value: null, ageMs: null } : { value: kind === "inside", ageMs: 0 };
}

function read<Key extends SignalKey>(
  context: GateContext,
  key: Key,
  source: SignalSource,
): Readings<SignalValues[Key]> | undefined {
  return isAbsent(source) ? undefined : readSource(key, source, context.samples, context.clock);
}

interface Judged {
  readonly value: boolean | null;
  readonly ageMs: number | null;
}

/** Undefined for a signal that the vehicle does not have. */
function judged<Value>(readings: Readings<Value> | undefined, says: (value: Value) => boolean): Judged | undefined {
  if (readings === undefined) return undefined;
  const yes = readings.seen.find(({ value }) => says(value));
  if (yes !== undefined) return { value: true, ageMs: yes.ageMs };
  if (readings.missed.length > 0) return { value: null, ageMs: ageOfUnseen(readings) };
  return { value: false, ageMs: oldest(readings.seen) };
}

function anyOf(parts: readonly (Judged | undefined)[]): Judged {
  const present = parts.filter((part) => part !== undefined);
  const decisive = present.find(({ value }) => value === true) ?? present.find(({ value }) => value === null);
  if (decisive !== undefined) return decisive;
  return present.length === 0 ? { value: null, ageMs: null } : { value: false, ageMs: oldest(present) };
}

function ageOfUnseen({ missed }: Readings<unknown>): number | null {
  return oldest(missed);
}

function oldest(readings: readonly { readonly ageMs: number | null }[]): number | null {
  const ages = readings.map(({ ageMs }) => ageMs).filter((ageMs) => ageMs !== null);
  return ages.length === 0 ? null : Math.max(...ages);
}

import type { SourceRef } from "@muto/spec";
import type { GateContext } from "./context.ts";
import { isAbsent, readSource } from "./readings.ts";
import { refuse, refuseAbsent, refuseUnseen, type Refusal } from "./refusal.ts";

/**
 * DENY_LOW_BATTERY. The higher of the floor's and the policy's percentage is required, unless the vehicle is charging. Zero
 * asks for nothing, so a dead gauge does not close it. A battery that the vehicle declares absent satisfies the gate, unless
 * its own floor demands a percentage.
 */
export function refuseBattery(context: GateContext): readonly Refusal[] {
  const { safety, signals } = context.config;
  const required = Math.max(safety.batteryPctMin, context.policy?.requireBatteryPctMin ?? 0);
  if (required <= 0) return [];
  if (isAbsent(signals.battery)) {
    return safety.batteryPctMin > 0 ? [refuseAbsent("DENY_LOW_BATTERY", "battery", required)] : [];
  }
  const { seen, missed } = readSource("batteryPct", signals.battery, context.samples, context.clock);
  const low = isCharging(context, signals.battery) ? [] : seen.filter(({ value }) => !(value >= required));
  return [
    ...refuseUnseen("DENY_LOW_BATTERY", "battery", required, missed),
    ...low.map(({ provider, value, ageMs }) =>
      refuse("DENY_LOW_BATTERY", {
        signal: "battery",
        problem: "out-of-bounds",
        source: provider,
        required,
        seen: value,
        ageMs,
      }),
    ),
  ];
}

/** Only when at least one provider says so freshly, and none that ever spoke of charging says no or has fallen silent. */
function isCharging(context: GateContext, source: readonly SourceRef[]): boolean {
  const speaking = source.filter(
    ({ provider }) => context.samples.providers.get(provider)?.samples.charging !== undefined,
  );
  const { seen } = readSource("charging", speaking, context.samples, context.clock);
  return seen.length > 0 && seen.length === speaking.length && seen.every(({ value }) => value);
}

import type { GateEvidence, SafetyConfig, SignalSource } from "@muto/spec";
import type { GateContext } from "./context.ts";
import { yawRateSource } from "./hear.ts";
import { isAbsent, readSource } from "./readings.ts";
import { refuse, refuseAbsent, refuseUnseen, type Refusal } from "./refusal.ts";
import type { StandingKey } from "./signals.ts";

/**
 * DENY_MOVING. Demanded by the vehicle's floor or by the policy; the policy cannot lift the floor (H1). Then the speed and
 * the yaw rate have stood below their limits for `standstillSec`, by every provider, without a gap (a red light is no parking
 * place, H5), and a configured `parked` signal says true (a towed vehicle's wheels are still, H25).
 *
 * A speed that the vehicle declares absent satisfies the gate only if `parked` is configured in its place, or if the
 * floor itself does not demand standing: then there is nothing on this vehicle that a policy could ask for.
 */
export function refuseMotion(context: GateContext): readonly Refusal[] {
  const { safety, signals } = context.config;
  const demanded = safety.requireStationary || context.policy?.requireVehicleStationary === true;
  const parkedRefusals = demanded || safety.requireParked ? refuseUnparked(context) : [];
  if (!demanded) return parkedRefusals;
  if (isAbsent(signals.speed)) {
    const unprovable = safety.requireStationary && isAbsent(signals.parked);
    return unprovable ? [refuseAbsent("DENY_MOVING", "speed", safety.speedMpsMax), ...parkedRefusals] : parkedRefusals;
  }
  return [
    ...refuseUnsteady(context, "speedMps", signals.speed),
    ...refuseUnsteady(context, "yawRateRadps", yawRateSource(signals)),
    ...parkedRefusals,
  ];
}

function refuseUnsteady(context: GateContext, key: StandingKey, source: SignalSource): readonly Refusal[] {
  if (isAbsent(source)) return [];
  const { safety } = context.config;
  const limit = limitOf(safety, key);
  const { seen, missed, excused } = readSource(key, source, context.samples, context.clock);
  const moving = seen.filter(({ value }) => !(Math.abs(value) < limit));
  const steady = seen.filter((reading) => !moving.includes(reading));
  return [
    ...refuseUnseen("DENY_MOVING", SIGNALS[key], limit, missed),
    ...moving.map(({ provider, value, ageMs }) =>
      refuse("DENY_MOVING", {
        signal: SIGNALS[key],
        problem: "out-of-bounds",
        source: provider,
        required: limit,
        seen: value,
        ageMs,
      }),
    ),
    ...steady.flatMap(({ provider, takenMs, ageMs }) => {
      const sinceMs = context.samples.providers.get(provider)?.calmSinceMs[key] ?? null;
      return refuseShort(safety, provider, sinceMs === null ? -1 : takenMs - sinceMs, ageMs);
    }),
    ...excused.flatMap(({ provider, ageMs }) => {
      const movedMs = lastMotionMs(context, provider, key, ageMs);
      return movedMs === undefined ? [] : refuseShort(safety, provider, movedMs, ageMs);
    }),
  ];
}

/**
 * How long ago an optional provider that is not seen last spoke of motion; undefined when its last words were of standing. What it
 * took back or no longer knows does not unsay what it said before (H6).
 */
function lastMotionMs(
  { config, samples, clock }: GateContext,
  provider: string,
  key: StandingKey,
  ageMs: number | null,
): number | undefined {
  const heard = samples.providers.get(provider);
  const lastWord = heard?.samples[key]?.value ?? null;
  if (lastWord !== null) return Math.abs(lastWord) < limitOf(config.safety, key) ? undefined : (ageMs ?? -1);
  const contradictedMs = heard?.contradictedMs ?? null;
  return contradictedMs === null ? undefined : clock.monotonicMs - contradictedMs;
}

/** Also asked of an optional provider that fell silent: when its last words were of motion, they hold for `standstillSec`. */
function refuseShort(safety: SafetyConfig, source: string, steadyMs: number, ageMs: number | null): readonly Refusal[] {
  if (steadyMs >= safety.standstillSec * 1000) return [];
  const seen = Math.max(0, Math.floor(steadyMs / 1000));
  const details = { source, required: safety.standstillSec, seen, ageMs };
  return [refuse("DENY_MOVING", { signal: "standstill", problem: "out-of-bounds", ...details })];
}

function refuseUnparked(context: GateContext): readonly Refusal[] {
  const source = context.config.signals.parked;
  if (isAbsent(source)) {
    return context.config.safety.requireParked ? [refuseAbsent("DENY_MOVING", "parked", true)] : [];
  }
  const { seen, missed } = readSource("parked", source, context.samples, context.clock);
  const unparked = seen.filter(({ value }) => !value);
  return [
    ...refuseUnseen("DENY_MOVING", "parked", true, missed),
    ...unparked.map(({ provider, value, ageMs }) =>
      refuse("DENY_MOVING", {
        signal: "parked",
        problem: "out-of-bounds",
        source: provider,
        required: true,
        seen: value,
        ageMs,
      }),
    ),
  ];
}

function limitOf(safety: SafetyConfig, key: StandingKey): number {
  return key === "speedMps" ? safety.speedMpsMax : safety.yawRateRadpsMax;
}

const SIGNALS: Readonly<Record<StandingKey, NonNullable<GateEvidence["signal"]>>> = {
  speedMps: "speed",
  yawRateRadps: "angular-speed",
};

import type { AgentConfig, SignalLine, SignalSource } from "@muto/spec";
import type {
  Instant,
  MalformedKeys,
  NewestSamples,
  ProviderSamples,
  Sample,
  SignalKey,
  StandingKey,
  VehicleMode,
} from "./signals.ts";

/** What a provider's samples are measured against while they come in. */
export interface StandingLimits {
  /** Absolute values at or above these are motion, in m/s and rad/s. */
  readonly limit: Readonly<Record<StandingKey, number>>;
  /** Two samples further apart than this do not belong to one series, in milliseconds. */
  readonly gapMs: Readonly<Record<StandingKey, number>>;
}

/**
 * A provider's samples after one more line. The history of standing is kept here, on every line, and not when somebody
 * looks: a vehicle that moved between two looks has moved. A line that cannot be understood, or whose own time cannot,
 * takes back everything the provider said before (it may have said the opposite); a provider of several sources takes back
 * only what the one that is not understood spoke of.
 */
export function hear(
  before: ProviderSamples,
  line: SignalLine | "malformed" | MalformedKeys,
  received: Instant,
  limits: StandingLimits,
): ProviderSamples {
  if (line !== "malformed" && line.kind === "malformed") return afterMalformedKeys(before, line.keys, received);
  const lateMs = line === "malformed" ? undefined : lateness(line, received.wallMs);
  if (line === "malformed" || lateMs === undefined) return afterMalformed(before);
  const takenMs = received.monotonicMs - lateMs;
  const takenWallMs = received.wallMs - lateMs;
  const samples = { ...before.samples, ...samplesOf(line, takenMs, takenWallMs) };
  return {
    samples,
    lastLine: "good",
    calmSinceMs: {
      speedMps: calmSince("speedMps", before, samples, line, limits),
      yawRateRadps: calmSince("yawRateRadps", before, samples, line, limits),
    },
    contradictedMs: contradictsStanding(line, limits)
      ? Math.max(before.contradictedMs ?? received.monotonicMs, received.monotonicMs)
      : before.contradictedMs,
  };
}

/** Limits for one provider: silence is measured by `freshForSec` where the configuration names it as a source. */
export function standingLimits(config: Pick<AgentConfig, "safety" | "signals">, provider: string): StandingLimits {
  return {
    limit: { speedMps: config.safety.speedMpsMax, yawRateRadps: config.safety.yawRateRadpsMax },
    gapMs: {
      speedMps: gapMs(config.signals.speed, provider),
      yawRateRadps: gapMs(yawRateSource(config.signals), provider),
    },
  };
}

/** Where the yaw rate comes from: every provider of the speed has to give it too, unless the configuration says otherwise. */
export function yawRateSource(signals: AgentConfig["signals"]): SignalSource {
  return signals.yawRate ?? signals.speed;
}

/** Modes in which a person, and nothing else, decides whether the vehicle moves. */
export function isUnderManualControl(mode: VehicleMode): boolean {
  switch (mode) {
    case "manual":
    case "stopped":
      return true;
    case "autonomous":
    case "transition":
    case "minimal-risk-manoeuvre":
      return false;
  }
}

/** By how much the line is older than its receipt, never negative: `at` can only make a sample older. */
function lateness(line: SignalLine, receivedWallMs: number): number | undefined {
  if (line.at === undefined) return 0;
  const atMs = Date.parse(line.at);
  return Number.isFinite(atMs) ? Math.max(0, receivedWallMs - atMs) : undefined;
}

function samplesOf(line: SignalLine, takenMs: number, takenWallMs: number): NewestSamples {
  const sample = <Value>(value: Value): Sample<NonNullable<Value>> => ({ value: value ?? null, takenMs, takenWallMs });
  return {
    ...(line.speedMps !== undefined && { speedMps: sample(line.speedMps) }),
    ...(line.yawRateRadps !== undefined && { yawRateRadps: sample(line.yawRateRadps) }),
    ...(line.parked !== undefined && { parked: sample(line.parked) }),
    ...(line.mode !== undefined && { mode: sample(line.mode) }),
    ...(line.batteryPct !== undefined && { batteryPct: sample(line.batteryPct) }),
    ...(line.charging !== undefined && { charging: sample(line.charging) }),
    ...(line.metered !== undefined && { metered: sample(line.metered) }),
    ...(line.hold !== undefined && { hold: sample(line.hold) }),
    ...(line.changeAcknowledged !== undefined && { changeAcknowledged: sample(line.changeAcknowledged) }),
  };
}

function calmSince(
  key: StandingKey,
  before: ProviderSamples,
  samples: NewestSamples,
  line: SignalLine,
  limits: StandingLimits,
): number | null {
  if (line[key] === undefined) return before.calmSinceMs[key];
  const newest = samples[key];
  if (newest === undefined || newest.value === null || !isBelow(newest.value, limits.limit[key])) return null;
  const previous = before.samples[key];
  const since = before.calmSinceMs[key];
  if (previous === undefined || since === null) return newest.takenMs;
  const gap = Math.max(
    Math.abs(newest.takenMs - previous.takenMs),
    Math.abs(newest.takenWallMs - previous.takenWallMs),
  );
  return gap <= limits.gapMs[key] ? since : newest.takenMs;
}

/** Anything that is not a number below the limit, NaN included, is not below it. */
function isBelow(value: number, limit: number): boolean {
  return Math.abs(value) < limit;
}

function contradictsStanding(line: SignalLine, { limit }: StandingLimits): boolean {
  const { speedMps, yawRateRadps, parked, mode } = line;
  return (
    (typeof speedMps === "number" && !isBelow(speedMps, limit.speedMps)) ||
    (typeof yawRateRadps === "number" && !isBelow(yawRateRadps, limit.yawRateRadps)) ||
    parked === false ||
    (typeof mode === "string" && !isUnderManualControl(mode))
  );
}

function afterMalformed(before: ProviderSamples): ProviderSamples {
  return {
    samples: {},
    lastLine: "malformed",
    calmSinceMs: { speedMps: null, yawRateRadps: null },
    contradictedMs: before.contradictedMs,
  };
}

function afterMalformedKeys(before: ProviderSamples, keys: readonly SignalKey[], received: Instant): ProviderSamples {
  const sample = { value: null, takenMs: received.monotonicMs, takenWallMs: received.wallMs, malformed: true } as const;
  const { speedMps, yawRateRadps } = before.calmSinceMs;
  return {
    ...before,
    samples: { ...before.samples, ...Object.fromEntries(keys.map((key) => [key, sample])) },
    calmSinceMs: {
      speedMps: keys.includes("speedMps") ? null : speedMps,
      yawRateRadps: keys.includes("yawRateRadps") ? null : yawRateRadps,
    },
  };
}

function gapMs(source: SignalSource, provider: string): number {
  if (source === "none") return 0;
  const allowed = source.filter((ref) => ref.provider === provider).map((ref) => ref.freshForSec * 1000);
  return allowed.length === 0 ? 0 : Math.min(...allowed);
}

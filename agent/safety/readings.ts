import type { GateEvidence, SignalSource } from "@muto/spec";
import type { Instant, Sample, SignalKey, SignalSamples, SignalValues } from "./signals.ts";

/** What one configured provider says of one signal at this instant. */
export type Reading<Value> = SeenReading<Value> | UnseenReading;

export interface SeenReading<Value> {
  readonly kind: "seen";
  readonly provider: string;
  readonly value: Value;
  readonly takenMs: number;
  readonly ageMs: number;
}

/** Nothing that may be believed; the age is that of the newest sample, null when there never was one. */
export interface UnseenReading {
  readonly kind: "unseen";
  readonly provider: string;
  readonly optional: boolean;
  readonly problem: Extract<GateEvidence["problem"], "missing" | "stale" | "malformed">;
  readonly ageMs: number | null;
}

/** The readings of one signal, split by what they mean for a gate. */
export interface Readings<Value> {
  /** Fresh values, of required and optional providers alike: each can close a gate, so the most restrictive wins (H6). */
  readonly seen: readonly SeenReading<Value>[];
  /** Providers whose silence closes the gate: every required one, and all of them when nobody says anything at all. */
  readonly missed: readonly UnseenReading[];
  /** Optional providers that are silent while others speak. */
  readonly excused: readonly UnseenReading[];
}

/** Reads one key from every provider that the configuration names for it. */
export function readSource<Key extends SignalKey>(
  key: Key,
  source: Exclude<SignalSource, "none">,
  samples: SignalSamples,
  now: Instant,
): Readings<SignalValues[Key]> {
  const seen: SeenReading<SignalValues[Key]>[] = [];
  const unseen: UnseenReading[] = [];
  for (const { provider, optional, freshForSec } of source) {
    const heard = samples.providers.get(provider);
    const sample: Sample<SignalValues[Key]> | undefined = heard?.samples[key];
    const ageMs = sample === undefined ? null : ageOf(sample, now);
    if (sample === undefined || ageMs === null) {
      const problem = heard?.lastLine === "malformed" ? "malformed" : "missing";
      unseen.push({ kind: "unseen", provider, optional, problem, ageMs: null });
    } else if (!(ageMs <= freshForSec * 1000)) {
      unseen.push({ kind: "unseen", provider, optional, problem: "stale", ageMs });
    } else if (sample.value === null) {
      const problem = sample.malformed === true ? "malformed" : "missing";
      unseen.push({ kind: "unseen", provider, optional, problem, ageMs });
    } else {
      seen.push({ kind: "seen", provider, value: sample.value, takenMs: sample.takenMs, ageMs });
    }
  }
  const isMissed = ({ optional }: UnseenReading) => !optional || seen.length === 0;
  return { seen, missed: unseen.filter(isMissed), excused: unseen.filter((reading) => !isMissed(reading)) };
}

/** A signal that the vehicle's own configuration declares absent, by `none` or, where that is allowed, by leaving it out. */
export function isAbsent(source: SignalSource | undefined): source is "none" | undefined {
  return source === undefined || source === "none";
}

/**
 * Age in whole milliseconds, rounded up. The older of the two clocks counts: the monotonic one stands still while the
 * computer sleeps, the wall clock may be set back.
 */
function ageOf(sample: Sample<unknown>, now: Instant): number {
  return Math.ceil(Math.max(now.monotonicMs - sample.takenMs, now.wallMs - sample.takenWallMs, 0));
}

import type { SignalLine } from "@muto/spec";

/**
 * What the vehicle says of itself, as the gates see it: values with the moment they were taken, one record per provider.
 * Every time is read from the agent's own clock at receipt, so a provider cannot make a sample look younger than it is.
 */
export interface SignalSamples {
  /** By the provider's name in the configuration. A provider that is not in the map has never been heard. */
  readonly providers: ReadonlyMap<string, ProviderSamples>;
  /** What a technician on the vehicle said, apart from all signals. */
  readonly technician: TechnicianSays;
  /** The lock file of the vehicle's own software; left out where none is configured. */
  readonly lock?: LocalLock;
}

/** A file whose existence holds the vehicle. One that cannot be looked at holds too: somebody may have written it. */
export type LocalLock =
  | { readonly kind: "none" }
  /** Over at `untilWallMs`, if the clock is trusted; null stands until the file is removed. */
  | { readonly kind: "held"; readonly who: string; readonly why: HoldWhy; readonly untilWallMs: number | null }
  | { readonly kind: "unreadable" };

export interface ProviderSamples {
  /** The newest sample of each key that was ever heard. A malformed line empties it: what it would have said is unknown. */
  readonly samples: NewestSamples;
  readonly lastLine: "none" | "good" | "malformed";
  /**
   * Monotonic time of the first sample of the unbroken series that ends with the newest one, in which every sample was below
   * the standing limit and no two were further apart than the source may be silent. Null: the newest is not below it.
   */
  readonly calmSinceMs: Readonly<Record<StandingKey, number | null>>;
  /**
   * Monotonic time at which this provider last said that the vehicle moves, is not parked or does not stand under manual
   * control; null if never. It outlives the samples, so that falling silent in motion is never taken for standing.
   */
  readonly contradictedMs: number | null;
}

export type NewestSamples = { readonly [Key in SignalKey]?: Sample<SignalValues[Key]> };

/** Null as a value is the provider's own "I do not know". */
export interface Sample<Value> {
  readonly value: Value | null;
  /** Monotonic time at which the value was true at the latest: receipt, or earlier when the line's own `at` says so. */
  readonly takenMs: number;
  /** The same moment on the wall clock; it betrays a computer that slept, which the monotonic clock does not count. */
  readonly takenWallMs: number;
  /** Something came that cannot be understood; the value is null then. */
  readonly malformed?: true;
}

/** A provider of several sources took these keys back, because something came for them that cannot be understood. */
export interface MalformedKeys {
  readonly kind: "malformed";
  readonly keys: readonly SignalKey[];
}

/** The values of one line by key: speeds in m/s and rad/s, percentages, enumerations. */
export type SignalValues = { readonly [Key in SignalKey]: NonNullable<SignalLine[Key]> };

export type SignalKey = Exclude<keyof SignalLine, "kind" | "at">;

/** The keys whose history proves that the vehicle stands. */
export type StandingKey = "speedMps" | "yawRateRadps";

export type VehicleMode = SignalValues["mode"];

export type HoldWhy = NonNullable<SignalValues["hold"]["why"]>;

export interface TechnicianSays {
  /** A hold that cannot be read still holds: somebody wrote it. */
  readonly hold: TechnicianHold;
  /** Null when there is none, it has expired, or it was made in an earlier boot. */
  readonly standing: Standing | null;
}

export type TechnicianHold =
  | { readonly kind: "none" }
  | { readonly kind: "held"; readonly who: string; readonly why: HoldWhy }
  | { readonly kind: "unreadable" };

/** A person beside the vehicle says that it stands; valid while both clocks are before their limit. */
export interface Standing {
  readonly madeMs: number;
  readonly untilMs: number;
  readonly untilWallMs: number;
}

/** One instant on both clocks of the agent. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** A provider before its first line. */
export const silentProvider: ProviderSamples = {
  samples: {},
  lastLine: "none",
  calmSinceMs: { speedMps: null, yawRateRadps: null },
  contradictedMs: null,
};

/** Nobody has said anything yet. */
export const noSamples: SignalSamples = {
  providers: new Map(),
  technician: { hold: { kind: "none" }, standing: null },
};

/**
 * What the vehicle says of itself, as the gates see it: values with the moment they were taken, one record per provider.
 * Every time is read from the agent's own clock at receipt, so a provider cannot make a sample look younger than it is.
 */
export interface SignalSamples {
  /** By the provider's name in the configuration. A provider that is not in the map has never been heard. */
  readonly providers: ReadonlyMap<string, ProviderSamples>;
  /** What a technician on the vehicle said, apart from all signals. */
  readonly technician: TechnicianSays;
}

export interface ProviderSamples {
  /** The newest sample of each key that was ever heard. A malformed line empties it: what it would have said is unknown. */
  readonly samples: NewestSamples;
  readonly lastLine: "none" | "good" | "malformed";
  /**
   * Monotonic time of the first sample of the unbroken series that ends with the newest one, in which every sample was below
   * the standing limit and no two were further apart than the source may be silent. Null: the newest is not below it.
   */
  readonly calmSinceMs: Readonly<Record<StandingKey, number | null>>;
}

export type NewestSamples = { readonly [Key in SignalKey]?: Sample<SignalValues[Key]> };

/** Null as a value is the provider's own "I do not know". */
export interface Sample<Value> {
  readonly value: Value | null;
  /** Monotonic time at which the value was true at the latest: receipt, or earlier when the line's own `at` says so. */
  readonly takenMs: number;
  /** The same moment on the wall clock; it betrays a computer that slept, which the monotonic clock does not count. */
  readonly takenWallMs: number;
}

export interface SignalValues {
  readonly speedMps: number;
  readonly yawRateRadps: number;
  readonly parked: boolean;
  readonly mode: VehicleMode;
  readonly batteryPct: number;
  readonly charging: boolean;
  readonly metered: boolean;
  readonly hold: HoldValue;
  /** Id of the change that the vehicle's own software acknowledged. */
  readonly changeAcknowledged: string;
}

export type SignalKey = keyof SignalValues;

/** The keys whose history proves that the vehicle stands. */
export type StandingKey = "speedMps" | "yawRateRadps";

export type VehicleMode = "manual" | "stopped" | "autonomous" | "transition" | "minimal-risk-manoeuvre";

export interface HoldValue {
  readonly held: boolean;
  readonly who?: string;
  readonly why?: HoldWhy;
}

export type HoldWhy = "maintenance" | "mission" | "charging" | "passengers" | "diagnosis" | "calibration" | "other";

export interface TechnicianSays {
  /** A hold that cannot be read still holds: somebody wrote it. */
  readonly hold: TechnicianHold;
  /** Null when there is none, it has expired, or it was made in an earlier boot. */
  readonly standing: StandingConfirmation | null;
}

export type TechnicianHold =
  | { readonly kind: "none" }
  | { readonly kind: "held"; readonly who: string; readonly why: HoldWhy }
  | { readonly kind: "unreadable" };

/** A person beside the vehicle says that it stands; valid while both clocks are before their limit. */
export interface StandingConfirmation {
  readonly untilMs: number;
  readonly untilWallMs: number;
}

/** Nobody has said anything yet. */
export const noSamples: SignalSamples = {
  providers: new Map(),
  technician: { hold: { kind: "none" }, standing: null },
};

/** A provider before its first line. */
export const silentProvider: ProviderSamples = {
  samples: {},
  lastLine: "none",
  calmSinceMs: { speedMps: null, yawRateRadps: null },
};

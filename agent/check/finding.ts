/** One thing that was looked at, in words for a technician. Only `fail` makes a vehicle unfit. */
export interface Finding {
  readonly about: string;
  /** `wait`: as it should be, and in the way of a change for now. */
  readonly verdict: "ok" | "wait" | "warn" | "fail";
  readonly says: string;
  /** What to do about it. */
  readonly next?: string;
}

import { timestamp } from "@muto/kit/clock";
import type { ViewTime } from "./vehicle-events.ts";

/** One moment, for everything that a transaction reads and writes. */
export interface Moment extends ViewTime {
  readonly nowMs: number;
  readonly offlineAfterMs: number;
}

export function momentAt(nowMs: number, offlineAfterMs: number): Moment {
  return { nowMs, offlineAfterMs, at: timestamp(nowMs), offlineBefore: timestamp(nowMs - offlineAfterMs) };
}

export function milliseconds(at: string | null): number | null {
  return at === null ? null : Date.parse(at);
}

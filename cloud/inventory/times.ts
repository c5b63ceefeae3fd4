import { timestamp } from "@muto/kit/clock";

/** A time from outside in the one form that is stored; undefined for what only looks like one (February 30, hour 25). */
export function readTime(text: string): string | undefined {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : timestamp(ms);
}

/** A vehicle's time, believed only up to our own; a vehicle that does not know the time is given ours. */
export function believedTime(text: string, receivedAt: string): string {
  const at = readTime(text);
  return at === undefined || Date.parse(at) > Date.parse(receivedAt) ? receivedAt : at;
}

/** `at` moved by some milliseconds. */
export function shifted(at: string, ms: number): string {
  return timestamp(Date.parse(at) + ms);
}

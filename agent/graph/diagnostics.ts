import type { DiagnosticSeen } from "../ports.ts";

/** The newest status by name, as an aggregator repeats them all on its topic. */
export interface Diagnostics {
  record(name: unknown, level: unknown, nowMs: number): void;
  /** Null before the first status. */
  read(nowMs: number): readonly DiagnosticSeen[] | null;
}

export const DIAGNOSTICS = { topic: "/diagnostics_agg", type: "diagnostic_msgs/msg/DiagnosticArray" } as const;

const STALE = 3;
const STATUSES_MAX = 2_000;
/** Some publishers write the digit instead of the number (ros/diagnostics#183). */
const DIGIT_ZERO = 48;

export function createDiagnostics(): Diagnostics {
  const newest = new Map<string, { level: number; atMs: number }>();
  return {
    record: (name, level, atMs) => {
      if (typeof name !== "string" || (newest.size >= STATUSES_MAX && !newest.has(name))) return;
      newest.set(name, { level: levelOf(level), atMs });
    },
    read: (nowMs) => {
      if (newest.size === 0) return null;
      return [...newest].map(([name, { level, atMs }]) => ({ name, level, ageMs: Math.max(0, nowMs - atMs) }));
    },
  };
}

/** A level that nobody defined says as little as a stale one. */
function levelOf(level: unknown): number {
  if (typeof level !== "number") return STALE;
  const meant = level >= DIGIT_ZERO ? level - DIGIT_ZERO : level;
  return [0, 1, 2, STALE].includes(meant) ? meant : STALE;
}

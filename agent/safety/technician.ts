import type { LocalHold, StandingConfirmation } from "@muto/spec";
import type { HoldWhy, Instant, Standing } from "./signals.ts";

/** Nobody watches a vehicle longer than this without saying so again. */
export const STANDING_MS_MAX = 3_600_000;

/** The computer's time that runs through sleep, is the same in every process and starts with the boot. */
export interface BootTime {
  readonly bootId: string;
  readonly uptimeMs: number;
}

/**
 * What a confirmation on disk is worth now; null when it is worth nothing: made in another boot, in the future, for longer
 * than allowed, or over on either clock. The uptime cannot be set back, and the wall clock cannot be slept through.
 */
export function judgeStanding(record: StandingConfirmation, now: Instant & BootTime): Standing | null {
  const { madeUptimeMs, untilUptimeMs } = record;
  const madeWallMs = Date.parse(record.at);
  const untilWallMs = Date.parse(record.until);
  const isThisBoot = record.bootId === now.bootId && madeUptimeMs <= now.uptimeMs;
  const isBounded = untilUptimeMs - madeUptimeMs <= STANDING_MS_MAX && untilWallMs - madeWallMs <= STANDING_MS_MAX;
  const isRunning = now.uptimeMs < untilUptimeMs && now.wallMs < untilWallMs;
  if (!isThisBoot || !isBounded || !isRunning) return null;
  return {
    madeMs: now.monotonicMs - (now.uptimeMs - madeUptimeMs),
    untilMs: now.monotonicMs + (untilUptimeMs - now.uptimeMs),
    untilWallMs,
  };
}

/** A confirmation from now on; undefined when `forMs` is not within (0, {@link STANDING_MS_MAX}]. */
export function makeStanding(
  who: string,
  forMs: number,
  now: BootTime & Pick<Instant, "wallMs">,
): StandingConfirmation | undefined {
  if (!(forMs > 0 && forMs <= STANDING_MS_MAX)) return undefined;
  const madeUptimeMs = Math.floor(now.uptimeMs);
  return {
    kind: "muto.standing-confirmation/v1",
    who,
    at: new Date(now.wallMs).toISOString(),
    bootId: now.bootId,
    madeUptimeMs,
    untilUptimeMs: madeUptimeMs + Math.floor(forMs),
    until: new Date(now.wallMs + Math.floor(forMs)).toISOString(),
  };
}

/** A hold from now on, until it is released. */
export function makeHold(who: string, why: HoldWhy, wallMs: number): LocalHold {
  return { kind: "muto.local-hold/v1", who, why, at: new Date(wallMs).toISOString() };
}

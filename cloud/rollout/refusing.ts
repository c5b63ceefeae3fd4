import type { ApplyWindow, Facts, Policy, ReasonCode, SafetySnapshot } from "@muto/spec";

/** What the control plane last heard of a vehicle's safety signals. */
export interface LastHeard {
  readonly facts: Facts;
  readonly safety: SafetySnapshot | null;
}

/**
 * Which gates of the policy would refuse by what was last heard: a forecast for people, without authority, because the
 * vehicle decides on its own fresh signals and its own floor. Movement, mode, and local time that are not known count as
 * refusing, as they do on the vehicle. A charge that is not known does not: most vehicles that say nothing have no battery.
 */
export function refusingGates(
  wanted: { readonly policy: Policy; readonly diskMbMin: number; readonly nowMs: number },
  vehicle: LastHeard,
): readonly ReasonCode[] {
  const { policy } = wanted;
  const { safety, facts } = vehicle;
  const charge = safety?.batteryPct.value ?? null;
  const codes: ReasonCode[] = [];
  if (policy.requireVehicleStationary && safety?.moving.value !== false) codes.push("DENY_MOVING");
  if (policy.denyIfAutonomousMode && safety?.autonomousMode.value !== false) codes.push("DENY_AUTONOMOUS_MODE");
  if (charge !== null && charge < policy.requireBatteryPctMin) codes.push("DENY_LOW_BATTERY");
  if (policy.applyWindow !== undefined && !isInside(policy.applyWindow, facts.timezone, wanted.nowMs)) {
    codes.push("DENY_OUTSIDE_WINDOW");
  }
  if (facts.diskFreeMb !== undefined && facts.diskFreeMb < wanted.diskMbMin) codes.push("INSUFFICIENT_DISK");
  return codes;
}

/** Whether the wall clock of a time zone is inside [start, end), which may cross midnight. False when the zone is unknown. */
export function isInside(window: ApplyWindow, timezone: string | undefined, nowMs: number): boolean {
  const now = timezone === undefined ? undefined : wallClock(timezone, nowMs);
  if (now === undefined) return false;
  const { startLocal, endLocal } = window;
  return startLocal < endLocal ? startLocal <= now && now < endLocal : startLocal <= now || now < endLocal;
}

/** HH:MM, or undefined when nobody knows such a time zone. */
function wallClock(timezone: string, nowMs: number): string | undefined {
  try {
    const format = new Intl.DateTimeFormat("en-GB", {
      timeZone: timezone,
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
    return format.format(nowMs);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

import type { Policy, PolicyRequest } from "@muto/spec";

export type CheckedPolicy =
  | { readonly ok: true; readonly policy: Policy; readonly weakened: boolean }
  | { readonly ok: false; readonly problem: "window-empty" }
  | { readonly ok: false; readonly problem: "unacknowledged"; readonly fields: readonly string[] };

/** The charge that the default policy asks for. */
const DEFAULT_BATTERY_PCT_MIN = 35;

/**
 * The defaults are the safe ones; a request that weakens one must say that it means to (H1). A window whose end is its start
 * has no length and would never open (H21). Whatever passes here, the vehicle's own floor stays above it.
 */
export function checkPolicy(requested: PolicyRequest, acknowledged: boolean): CheckedPolicy {
  const { applyWindow } = requested;
  if (applyWindow !== undefined && applyWindow.startLocal === applyWindow.endLocal) {
    return { ok: false, problem: "window-empty" };
  }
  const fields = [
    ...(requested.requireVehicleStationary ? [] : ["requireVehicleStationary"]),
    ...(requested.denyIfAutonomousMode ? [] : ["denyIfAutonomousMode"]),
    ...(requested.requireBatteryPctMin < DEFAULT_BATTERY_PCT_MIN ? ["requireBatteryPctMin"] : []),
  ];
  const weakened = fields.length > 0;
  return weakened && !acknowledged
    ? { ok: false, problem: "unacknowledged", fields }
    : { ok: true, policy: { ...requested }, weakened };
}

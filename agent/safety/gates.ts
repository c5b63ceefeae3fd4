import type { ConfirmationEvidence, SafetySnapshot } from "@muto/spec";
import { refuseBattery } from "./battery.ts";
import { excuseUnseen } from "./confirmation.ts";
import type { DiskFacts, GateContext } from "./context.ts";
import { refuseHold } from "./hold.ts";
import { refuseAutonomy } from "./mode.ts";
import { refuseMotion } from "./motion.ts";
import { refuse, type Refusal } from "./refusal.ts";
import { snapshotOf } from "./snapshot.ts";
import { judgeWindow } from "./window.ts";

/** `confirmations`: what was let pass because a technician confirmed it; belongs into the report either way. */
export type GateVerdict =
  | {
      readonly open: true;
      readonly confirmations: readonly ConfirmationEvidence[];
      readonly snapshot: SafetySnapshot;
    }
  | {
      readonly open: false;
      /** Every reason of every gate that refuses, in the order of the table in the documentation; never empty. */
      readonly refusals: readonly Refusal[];
      readonly confirmations: readonly ConfirmationEvidence[];
      readonly snapshot: SafetySnapshot;
    };

/**
 * The last word before something that runs is stopped. Fails closed: what is missing, malformed or stale refuses with its
 * own gate's code. The policy only ever adds demands to the vehicle's floor (H1). A signal that the vehicle's own configuration
 * declares absent satisfies its gate exactly when the floor does not demand it.
 */
export function evaluateGates(context: GateContext): GateVerdict {
  const motion = excuseUnseen(context, refuseMotion(context));
  const autonomy = excuseUnseen(context, refuseAutonomy(context));
  const refusals = [
    ...motion.refusals,
    ...autonomy.refusals,
    ...(context.purpose === "switch" ? refuseForSwitch(context) : []),
    ...refuseHold(context),
  ];
  const common = {
    confirmations: [...motion.confirmations, ...autonomy.confirmations],
    snapshot: snapshotOf(context),
  };
  return refusals.length === 0 ? { open: true, ...common } : { open: false, refusals, ...common };
}

/** INSUFFICIENT_DISK alone, as it guards staging; the switch asks it again. */
export function refuseDisk(disk: DiskFacts, reserveMb: number): readonly Refusal[] {
  const required = disk.neededMb + reserveMb;
  if (disk.freeMb !== null && disk.freeMb >= required) return [];
  const problem = disk.freeMb === null ? "missing" : "out-of-bounds";
  return [refuse("INSUFFICIENT_DISK", { signal: "disk", problem, required, seen: disk.freeMb, ageMs: null })];
}

function refuseForSwitch(context: GateContext): readonly Refusal[] {
  return [
    ...refuseBattery(context),
    ...refuseWindow(context),
    ...refuseDisk(context.disk, context.config.safety.diskReserveMb),
  ];
}

/** DENY_OUTSIDE_WINDOW. Without a trusted clock nobody knows whether a window is open, so it is not. */
function refuseWindow(context: GateContext): readonly Refusal[] {
  const window = context.policy?.applyWindow;
  if (window === undefined) return [];
  const required = `${window.startLocal}-${window.endLocal}`;
  const unknown = { signal: "clock", problem: "not-trusted", required, seen: null, ageMs: null } as const;
  if (!context.clock.trusted) return [refuse("DENY_OUTSIDE_WINDOW", unknown)];
  const judged = judgeWindow(window, context.config.vehicle.timezone, context.clock.wallMs);
  switch (judged.kind) {
    case "inside":
      return [];
    case "outside": {
      const details = { required, seen: judged.localTime, ageMs: 0 };
      return [refuse("DENY_OUTSIDE_WINDOW", { signal: "window", problem: "out-of-bounds", ...details })];
    }
    case "unknown":
      return [refuse("DENY_OUTSIDE_WINDOW", unknown)];
  }
}

import type { GateContext } from "./context.ts";
import { isUnderManualControl } from "./hear.ts";
import { isAbsent, readSource } from "./readings.ts";
import { refuse, refuseAbsent, refuseUnseen, type Refusal } from "./refusal.ts";

const REQUIRED = "manual|stopped";

/**
 * DENY_AUTONOMOUS_MODE. Demanded by the vehicle's floor or by the policy; the policy cannot lift the floor (H1). Closed
 * while any provider says autonomous, in transition or in a minimal-risk manoeuvre, and while the mode is unknown. A mode
 * that the vehicle declares absent satisfies the gate only if the floor does not demand it.
 */
export function refuseAutonomy(context: GateContext): readonly Refusal[] {
  const { safety, signals } = context.config;
  if (!safety.denyAutonomous && context.policy?.denyIfAutonomousMode !== true) return [];
  if (isAbsent(signals.mode)) {
    return safety.denyAutonomous ? [refuseAbsent("DENY_AUTONOMOUS_MODE", "mode", REQUIRED)] : [];
  }
  const { seen, missed } = readSource("mode", signals.mode, context.samples, context.clock);
  const autonomous = seen.filter(({ value }) => !isUnderManualControl(value));
  return [
    ...refuseUnseen("DENY_AUTONOMOUS_MODE", "mode", REQUIRED, missed),
    ...autonomous.map(({ provider, value, ageMs }) =>
      refuse("DENY_AUTONOMOUS_MODE", {
        signal: "mode",
        problem: "out-of-bounds",
        source: provider,
        required: REQUIRED,
        seen: value,
        ageMs,
      }),
    ),
  ];
}

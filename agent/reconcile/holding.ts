import type { Evidence, ReasonCode } from "@muto/spec";
import { LIMITS } from "./limits.ts";
import type { Hold, WakeWhen } from "./step.ts";

export function holding(
  status: Hold["status"],
  phase: Hold["phase"],
  reasons: readonly ReasonCode[],
  evidence: readonly Evidence[],
  wakeWhen: WakeWhen,
): Hold {
  return { kind: "hold", status, phase, reasons, evidence, wakeWhen };
}

/** Nothing on the vehicle can change this; a newer assignment or another configuration can. */
export function onAssignment(): WakeWhen {
  return { afterMs: LIMITS.idleMs, on: ["assignment", "configuration"] };
}

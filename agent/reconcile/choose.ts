import type { Evidence, ReasonCode } from "@muto/spec";
import type { GateVerdict } from "../safety/gates.ts";
import type { Gates } from "./observed.ts";
import { gateOf, type Hold, type Step } from "./step.ts";

/**
 * The gate of the loop: takes the first option that is not refused. Fails closed: a gate that was not evaluated refuses. What
 * closed gates refused becomes the reasons of the hold that is left over, so nothing is ever held up silently.
 */
export function chooseStep(options: readonly Step[], gates: Gates | undefined): Step {
  const refusals = new Map<string, Evidence>();
  for (const step of options) {
    const need = gateOf(step);
    if (need === "none") return refusals.size === 0 ? step : withRefusals(step, [...refusals.values()]);
    const verdict = gates?.[need];
    if (verdict?.open === true) return step;
    for (const evidence of refusedBy(verdict)) refusals.set(JSON.stringify(evidence), evidence);
  }
  throw new Error("the last option of a plan must not be gated");
}

function refusedBy(verdict: GateVerdict | undefined): readonly Evidence[] {
  if (verdict === undefined || verdict.open) return [];
  return [...verdict.refusals.map(({ evidence }) => evidence), ...verdict.confirmations];
}

function withRefusals(step: Step, refusals: readonly Evidence[]): Step {
  if (step.kind !== "hold") return step;
  const reasons = unique([...step.reasons, ...refusals.map(({ reasonCode }) => reasonCode)]);
  // On probation the change itself goes on; only a repair waits.
  const status = step.phase === "probation" ? step.status : "blocked";
  const hold: Hold = { ...step, status, reasons, evidence: [...step.evidence, ...refusals] };
  return hold;
}

function unique(codes: readonly ReasonCode[]): readonly ReasonCode[] {
  return [...new Set(codes)];
}

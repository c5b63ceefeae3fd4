import type { Desired } from "./desired.ts";
import { chooseStep } from "./choose.ts";
import type { Observed } from "./observed.ts";
import { planBringUp } from "./plan-bring-up.ts";
import { planChange } from "./plan-change.ts";
import { planClean } from "./plan-clean.ts";
import { planRepair } from "./plan-repair.ts";
import { planRollback } from "./plan-rollback.ts";
import { planTrial } from "./plan-trial.ts";
import { gateOf, type Step } from "./step.ts";

/**
 * Exactly one step from two states, never a wait and never a memory of what was decided before. Called again after every
 * step, so the order of work falls out of repeated passes, and a crash anywhere is just another starting state.
 */
export function planNext(desired: Desired, observed: Observed): Step {
  return chooseStep(planOptions(desired, observed), observed.gates);
}

/** Whether the next step depends on gates, so that signals are read only when they matter. */
export function asksForGates(desired: Desired, observed: Observed): boolean {
  return planOptions(desired, observed).some((step) => gateOf(step) !== "none");
}

/**
 * What could be done, best first. A gated step is followed by what remains to be done while its gate is closed; the last
 * option is never gated.
 */
function planOptions(desired: Desired, observed: Observed): readonly Step[] {
  const { state } = observed;
  if (observed.storage === "faulted") return planBringUp(observed);
  if (state.rollback !== null) return planRollback(state.rollback, observed);
  if (state.trial !== null) return planTrial(state.trial, desired, observed);
  return [...planRepair(observed), ...planClean(desired, observed), ...planChange(desired, observed)];
}

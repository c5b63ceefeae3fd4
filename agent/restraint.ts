import type { Step } from "./reconcile/step.ts";

/**
 * A floor under the loop. Every step either changes the world or ends in a hold that says how long; should one ever do neither,
 * by a mistake of ours or because something takes what it was told and does not do it, the vehicle's computer must not pay for
 * it with a whole core. Nothing is given up: the same step is tried again, more and more slowly.
 */
export interface Restraint {
  /** Milliseconds to rest after this step before the world is looked at again; 0 for a step that may be followed at once. */
  after(step: Step): number;
}

/** The very same step so many times in a row is not yet suspicious. */
const REPEATS_FREE = 3;
const REST_BASE_MS = 100;
const REST_MS_MAX = 30_000;
/** A wait that is shorter is no rest: so many of them are a circle too. */
const WAIT_MS_MIN = 50;
/** More than any release has artifacts and workloads: steps that differ and lead nowhere. */
const STEPS_WITHOUT_HOLD_MAX = 1_000;
const REST_OF_CIRCLE_MS = 1_000;

export function createRestraint(): Restraint {
  let last = "";
  let repeats = 0;
  let steps = 0;
  return {
    after: (step) => {
      if ((step.kind === "hold" || step.kind === "settled") && step.wakeWhen.afterMs > 0) {
        last = "";
        repeats = 0;
        steps = step.wakeWhen.afterMs < WAIT_MS_MIN ? steps + 1 : 0;
        return steps > STEPS_WITHOUT_HOLD_MAX ? REST_OF_CIRCLE_MS : 0;
      }
      const said = JSON.stringify(step);
      repeats = said === last ? repeats + 1 : 0;
      last = said;
      steps += 1;
      if (repeats >= REPEATS_FREE) return Math.min(REST_MS_MAX, REST_BASE_MS * 2 ** (repeats - REPEATS_FREE));
      return steps > STEPS_WITHOUT_HOLD_MAX ? REST_OF_CIRCLE_MS : 0;
    },
  };
}

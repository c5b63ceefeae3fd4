import type { ConfirmationEvidence } from "@muto/spec";
import type { GateContext } from "./context.ts";
import type { Refusal } from "./refusal.ts";
import type { SignalSamples, Standing } from "./signals.ts";

/**
 * The way out when all signals come from the very stack that is down: a technician's confirmation stands in for what is
 * not seen in the motion and mode gates, and for nothing else. A fresh signal that says no is never overruled, nor is a
 * series of standing that is merely too short. If anything said after the confirmation was made that the vehicle moves or
 * drives itself, the confirmation is void, so that a signal that falls silent in motion opens nothing (H6).
 */
export function excuseUnseen(
  context: GateContext,
  refusals: readonly Refusal[],
): { readonly refusals: readonly Refusal[]; readonly confirmations: readonly ConfirmationEvidence[] } {
  const standing = validStanding(context);
  const first = refusals.find(isUnseen);
  if (standing === undefined || first === undefined) return { refusals, confirmations: [] };
  const until = new Date(standing.untilWallMs).toISOString();
  return {
    refusals: refusals.filter((refusal) => !isUnseen(refusal)),
    confirmations: [{ kind: "confirmation", reasonCode: first.reasonCode, until }],
  };
}

function validStanding({ samples, clock }: GateContext): Standing | undefined {
  const { standing } = samples.technician;
  if (standing === null || isContradicted(standing, samples)) return undefined;
  return clock.monotonicMs < standing.untilMs && clock.wallMs < standing.untilWallMs ? standing : undefined;
}

function isContradicted(standing: Standing, samples: SignalSamples): boolean {
  return [...samples.providers.values()].some(
    ({ contradictedMs }) => contradictedMs !== null && contradictedMs >= standing.madeMs,
  );
}

function isUnseen({ evidence }: Refusal): boolean {
  return evidence.seen === null;
}

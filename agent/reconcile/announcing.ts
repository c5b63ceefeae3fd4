import type { Evidence } from "@muto/spec";
import { refuseUnacknowledged } from "../safety/hold.ts";
import { LIMITS } from "./limits.ts";
import type { Observed, Trouble } from "./observed.ts";
import type { ChangeAct, GateNeed, Hold, Step } from "./step.ts";

/**
 * The way from "the gates are open" to "the stop begins" (H5): announce the change to the vehicle, wait for its
 * acknowledgement where one is required, ask every gate again, begin. When a gate closes meanwhile, the announcement is
 * taken back. A stack that fails is announced too, and waited for no longer than the configured time. `before` come first; `after` are what remains while the gates refuse.
 */
export function announceOptions(
  observed: Observed,
  change: {
    readonly gate: GateNeed;
    readonly begin: (act: ChangeAct) => Step;
    readonly ungated: (act: ChangeAct) => Step;
    readonly advance: ChangeAct;
  },
): { readonly before: readonly Step[]; readonly after: readonly Step[] } {
  const { now, seen, acknowledgement } = observed;
  const { announced, unacknowledged, untold } = seen;
  if (announced === null) {
    if (change.gate === "switch" && unacknowledged !== null && now.monotonicMs < unacknowledged.retryAtMs) {
      return { before: [], after: [unacknowledgedHold(unacknowledged.retryAtMs - now.monotonicMs, observed)] };
    }
    // Nobody is forced to make a change of which the vehicle cannot be told; a stack that fails is left all the same.
    if (change.gate === "switch" && untold !== null && now.monotonicMs < untold.retryAtMs) {
      return { before: [], after: [untoldHold(untold, untold.retryAtMs - now.monotonicMs)] };
    }
    return { before: [change.begin({ do: "announce" })], after: [] };
  }
  const withdraw = change.ungated({ do: "withdraw" });
  if (acknowledgement.required && acknowledgement.changeId !== announced.changeId) {
    const waitedMs = now.monotonicMs - announced.atMs;
    if (waitedMs < acknowledgement.timeoutMs) {
      return { before: [], after: [awaitingHold(acknowledgement.timeoutMs - waitedMs)] };
    }
    // The answer may have to come from the very stack that fails, which must not keep itself running by its silence.
    if (change.gate === "switch") return { before: [withdraw], after: [] };
  }
  return { before: [change.begin(change.advance)], after: [withdraw] };
}

function awaitingHold(afterMs: number): Hold {
  return {
    kind: "hold",
    status: "applying",
    phase: "gate",
    reasons: [],
    evidence: [],
    wakeWhen: { afterMs, on: ["gates"] },
  };
}

function untoldHold({ evidence }: Trouble, afterMs: number): Hold {
  const reasons = [...new Set(evidence.map(({ reasonCode }) => reasonCode))];
  return { kind: "hold", status: "blocked", phase: "gate", reasons, evidence, wakeWhen: { afterMs, on: ["disk"] } };
}

function unacknowledgedHold(afterMs: number, observed: Observed): Hold {
  const { reasonCode, evidence } = refuseUnacknowledged(observed.acknowledgement.timeoutMs);
  return {
    kind: "hold",
    status: "blocked",
    phase: "gate",
    reasons: [reasonCode],
    evidence: [evidence],
    wakeWhen: { afterMs: Math.min(afterMs, LIMITS.acknowledgementRetryMs), on: ["gates"] },
  };
}

/** What was missing when a return began all the same; stands in the evidence of its cause. */
export function unheardEvidence({ now, seen, acknowledgement }: Observed): readonly Evidence[] {
  const { announced, untold } = seen;
  const isMissing = announced !== null && acknowledgement.required && acknowledgement.changeId !== announced.changeId;
  const waitedMs = announced === null ? 0 : now.monotonicMs - announced.atMs;
  return [...(untold?.evidence ?? []), ...(isMissing ? [refuseUnacknowledged(waitedMs).evidence] : [])];
}

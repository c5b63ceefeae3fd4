import type { Evidence } from "@muto/spec";
import { EVIDENCE_KEPT_MAX, type Cause } from "./state.ts";

/** Places that a second list is sure of, however long the first one is. */
const SECOND_KEPT_MIN = 8;

/**
 * Evidence as a record can hold it. Bounded where the record is made: a stack of sixty workloads that fails as a whole has more to
 * say than a record takes, and a record that is refused would hold up the very rollback that it decides.
 */
export function keptEvidence(first: readonly Evidence[], second: readonly Evidence[] = []): readonly Evidence[] {
  const kept = second.slice(0, Math.max(SECOND_KEPT_MIN, EVIDENCE_KEPT_MAX - first.length));
  return [...first.slice(0, EVIDENCE_KEPT_MAX - kept.length), ...kept].slice(0, EVIDENCE_KEPT_MAX);
}

export function keptCause({ reasonCodes, evidence }: Cause, more: readonly Evidence[] = []): Cause {
  return { reasonCodes: [...new Set(reasonCodes)], evidence: keptEvidence(evidence, more) };
}

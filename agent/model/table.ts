import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Outcome, Quarantined, RollbackPhase, TrialPhase } from "../reconcile/state.ts";
import type { Trouble } from "../reconcile/observed.ts";
import {
  all,
  inWords,
  NOW,
  planOf,
  refOf,
  releaseA as A,
  releaseB as B,
  rollbackOf,
  trialOf,
  type Situation,
} from "./situation.ts";

/** Named situations and the step that each asks for, in words. */
export type Table = Readonly<Record<string, readonly [Situation, string]>>;

export const runsA = { active: A, instances: all(A) } as const;
export const stagedB = { ...runsA, wants: B, staged: B } as const;
export const announced = { changeId: "01HZ000000000000000000000A", atMs: NOW.monotonicMs - 100, before: [] };
export const verifiedB = new Map([[B.manifestDigest, NOW.monotonicMs - 1_000]]);

export function check(name: string, table: Table): void {
  void describe(name, () => {
    for (const [situation, [given, expected]] of Object.entries(table)) {
      void test(situation, () => assert.equal(inWords(planOf(given)), expected));
    }
  });
}

export function trouble(changes: Partial<Trouble>): Trouble {
  const evidence = {
    kind: "download",
    reasonCode: "ARTIFACT_DOWNLOAD_FAILED",
    digest: B.manifestDigest,
    problem: "unreachable",
    attempts: 1,
    bytesReceived: 0,
    bytesExpected: 0,
  } as const;
  const subject = B.manifestDigest;
  return { subject, attempts: 1, retryAtMs: NOW.monotonicMs + 4_000, final: false, evidence: [evidence], ...changes };
}

export function barred(isBarred: boolean): readonly Quarantined[] {
  const reasonCodes = ["CRASH_LOOP_DETECTED"] as const;
  return [{ manifestDigest: B.manifestDigest, sinceMs: NOW.wallMs, reasonCodes, attempts: 1, barred: isBarred }];
}

export function outcome(kind: Outcome["kind"], to: typeof A | null): Outcome {
  return {
    kind,
    from: refOf(B),
    to: to === null ? null : refOf(to),
    cause: { reasonCodes: ["READINESS_TIMEOUT"], evidence: [] },
    attempt: 1,
    desiredStateRevision: "dsr_00000000000000000000000008",
    sequence: 8,
    atMs: NOW.wallMs,
  };
}

export const mid = (phase: TrialPhase, changes: object = {}) => ({
  wants: B,
  active: A,
  staged: B,
  state: { trial: trialOf(B, A, { phase, ...changes }) },
});
export const stoppedHere = { stopping: "01HZ000000000000000000000T" };
export const back = (phase: RollbackPhase, changes: object = {}) => ({
  wants: B,
  active: A,
  state: { rollback: rollbackOf(B, A, { phase, ...changes }) },
});
export function sweptWith(...releases: readonly { readonly manifestDigest: string }[]): string {
  return releases
    .map(({ manifestDigest }) => manifestDigest)
    .toSorted()
    .join(" ");
}

import type { Probe, StackManifest } from "@muto/spec";
import type { ProbeSeen } from "../ports.ts";
import { LIMITS } from "./limits.ts";
import type { Expectation, Upkeep } from "./observed.ts";
import type { AgentState } from "./state.ts";

/** One look at the probes of a set that became ready. */
export interface UpkeepLook {
  readonly set: string;
  readonly atMs: number;
  readonly atWallMs: number;
  /** The set was ready when this process began to watch it, so that nothing has to be met first. */
  readonly wasReady: boolean;
  /** For what was never met: how long it may take. */
  readonly readinessTimeoutSec: StackManifest["healthModel"]["readinessTimeoutSec"];
  readonly results: readonly {
    readonly name: string;
    readonly kind: Probe["kind"];
    readonly seen: ProbeSeen;
  }[];
}

/** The set whose expectations are kept up: the one on probation, else the committed one while nothing is being changed. */
export function keptUpSet(state: AgentState): string | null {
  const { trial, rollback, active } = state;
  if (rollback !== null) return null;
  if (trial !== null) return trial.phase === "probation" ? trial.set.manifestDigest : null;
  return active?.manifestDigest ?? null;
}

/**
 * Adds one look to what is known of the expectations. A dip is none of them: only what is missed for `driftAfterMs` in all, where
 * keeping it gives half of the time back, is drift; and it is over when it was kept for `driftOverMs` without a break, so
 * that flapping is one drift. Pure.
 */
export function addUpkeep(before: Upkeep, look: UpkeepLook): Upkeep {
  const known = before.set === look.set ? before.expectations : undefined;
  const expectations = look.results.map(({ name, kind, seen }): readonly [string, Expectation] => {
    return [name, next(known?.get(name) ?? first(look), kind, seen, look)];
  });
  return { set: look.set, expectations: new Map(expectations) };
}

function first({ atMs, wasReady }: UpkeepLook): Expectation {
  return {
    firstMs: atMs,
    lookedMs: atMs,
    wasMet: wasReady,
    problem: null,
    missedMs: 0,
    missedSinceWallMs: null,
    metSinceMs: null,
    driftSinceWallMs: null,
    judged: wasReady,
  };
}

function next(before: Expectation, kind: Probe["kind"], { problem }: ProbeSeen, look: UpkeepLook): Expectation {
  // Watched for too short a time says nothing, neither way.
  if (problem === "window-not-full") return { ...before, lookedMs: look.atMs };
  // Without services a state is known from its next change on, which may never come; nothing speaks against it until then.
  if (kind === "lifecycle" && problem === "not-seen" && !before.wasMet) {
    return { ...before, lookedMs: look.atMs, judged: true };
  }
  const elapsedMs = Math.min(Math.max(0, look.atMs - before.lookedMs), LIMITS.driftLookMs);
  return problem === null ? kept(before, elapsedMs, look) : missed({ ...before, problem }, before, elapsedMs, look);
}

function kept(before: Expectation, elapsedMs: number, { atMs }: UpkeepLook): Expectation {
  const missedMs = before.problem === null ? Math.max(0, before.missedMs - elapsedMs / 2) : before.missedMs;
  const metSinceMs = before.metSinceMs ?? atMs;
  const isOver = atMs - metSinceMs >= LIMITS.driftOverMs;
  return {
    ...before,
    lookedMs: atMs,
    wasMet: true,
    problem: null,
    missedMs: isOver ? 0 : missedMs,
    missedSinceWallMs: isOver || missedMs === 0 ? null : before.missedSinceWallMs,
    metSinceMs,
    driftSinceWallMs: isOver ? null : before.driftSinceWallMs,
    judged: before.judged || isOver,
  };
}

function missed(now: Expectation, before: Expectation, elapsedMs: number, look: UpkeepLook): Expectation {
  const grownMs = before.problem === null ? before.missedMs : before.missedMs + elapsedMs;
  const missedMs = Math.min(LIMITS.driftAfterMs, grownMs);
  const missedSinceWallMs = before.missedSinceWallMs ?? look.atWallMs;
  // Something that has never been met may still be starting, as after a boot of the computer.
  const isDue = before.wasMet || look.atMs - before.firstMs >= look.readinessTimeoutSec * 1000;
  const isDrift = before.driftSinceWallMs !== null || (isDue && missedMs >= LIMITS.driftAfterMs);
  return {
    ...now,
    lookedMs: look.atMs,
    missedMs,
    missedSinceWallMs,
    metSinceMs: null,
    driftSinceWallMs: isDrift ? (before.driftSinceWallMs ?? missedSinceWallMs) : null,
    judged: before.judged || isDrift,
  };
}

/** Whether something is missed and not drift yet, or drift that may be over soon: it is looked at more often. */
export function isInDoubt({ expectations }: Upkeep): boolean {
  return [...expectations.values()].some(
    ({ problem, driftSinceWallMs }) => (problem === null) === (driftSinceWallMs !== null),
  );
}

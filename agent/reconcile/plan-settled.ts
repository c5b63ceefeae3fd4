import { LIMITS } from "./limits.ts";
import type { Observed } from "./observed.ts";
import { fetching, preparationOf } from "./preparing.ts";
import { lookIntervalMs, untilNextLookMs } from "./readiness.ts";
import type { Step } from "./step.ts";
import { nextStart, runningOf } from "./workloads.ts";

/**
 * Nothing is wanted. What remains is to keep proving, once a day, that the way back from the next change is whole (H9), and
 * to say when to look again.
 */
export function settledStep(observed: Observed): readonly Step[] {
  const { state, releases, now } = observed;
  const { active } = state;
  if (active === null) return [settled(LIMITS.idleMs)];
  const release = releases.get(active.manifestDigest);
  if (release === undefined) return fetching(active, observed);
  const mending = preparationOf(active, release, observed);
  if (mending !== undefined) return mending;
  const { manifest } = release;
  const next = nextStart(observed, active, manifest);
  const waits: number[] = [LIMITS.idleMs];
  if (next.kind === "wait") waits.push(next.afterMs);
  const lookMs = lookIntervalMs(observed, active.manifestDigest, manifest, next.kind === "blocked");
  if (lookMs !== undefined) waits.push(untilNextLookMs(observed, active.manifestDigest, lookMs));
  const isDue = isVerifyDue(observed);
  if (isDue && next.kind === "none" && runningOf(observed, () => true).length > 0) {
    return [{ kind: "switch", gate: "none", act: { do: "verify", set: active, role: "target" } }];
  }
  const dueMs = verifyDueMs(observed, now.wallMs);
  if (dueMs !== undefined && dueMs > 0) waits.push(dueMs);
  return [settled(Math.max(1, Math.min(...waits)))];
}

/** A little before the proof expires, so that a switch never has to wait for it. */
const VERIFY_AHEAD_MS = 3_600_000;

function isVerifyDue(observed: Observed): boolean {
  const { active, rollbackVerifiedAtMs } = observed.state;
  if (active === null) return false;
  if (rollbackVerifiedAtMs === null || rollbackVerifiedAtMs > observed.now.wallMs) return true;
  return (verifyDueMs(observed, observed.now.wallMs) ?? 0) <= 0;
}

function verifyDueMs({ state }: Observed, wallMs: number): number | undefined {
  if (state.rollbackVerifiedAtMs === null) return undefined;
  return state.rollbackVerifiedAtMs + LIMITS.rollbackVerifiedMsMax - VERIFY_AHEAD_MS - wallMs;
}

function settled(afterMs: number): Step {
  return { kind: "settled", wakeWhen: { afterMs, on: ["assignment", "runtime"] } };
}

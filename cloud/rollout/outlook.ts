import type { Rollout, RolloutNext, SafetyCheck } from "@muto/spec";
import { STOPPING_REASONS } from "./gate.ts";
import type { StoppingReason } from "./gate.ts";
import type { RolloutFacts } from "./facts.ts";
import { gateLimits, leadingVerdict } from "./machine.ts";
import type { Decision } from "./machine.ts";

/** What happens next by itself, and at the latest when. Null as a time is now, or never when the step is `nothing`. */
export interface Outlook {
  readonly step: RolloutNext["step"];
  readonly atMs: number | null;
}

/** A forecast for people, from the same facts that the next step is decided from. */
export function outlookOf(facts: RolloutFacts, { step }: Decision): Outlook {
  const deadlineMs = facts.clockFromMs + facts.settings.stageDeadlineSec * 1000;
  switch (facts.status) {
    case "active":
      break;
    case "rolling_back":
      return { step: "finish-rollback", atMs: deadlineMs };
    case "paused":
    case "rolled_back":
    case "completed":
      return { step: "nothing", atMs: null };
  }
  switch (facts.stage) {
    case "canary":
      return { step: "judge-canaries", atMs: deadlineMs };
    case "soak":
      return step.kind === "startWave"
        ? { step: "start-wave", atMs: facts.nowMs }
        : { step: "end-soak", atMs: facts.soakUntilMs };
    case "wave":
      return { step: "judge-wave", atMs: deadlineMs };
    case "watch":
      return { step: "end-watch", atMs: facts.watchUntilMs };
  }
}

const CHECK_NAMES: Readonly<Record<StoppingReason, SafetyCheck["name"]>> = {
  CRASH_LOOP_DETECTED: "no-crash-loops",
  READINESS_TIMEOUT: "no-readiness-timeouts",
  VERIFY_SIGNATURE_FAILED: "no-signature-failures",
};

/** The gates in the form of a dashboard: three-valued, because most of the time nobody can say yet. */
export function dashboardOf(
  facts: RolloutFacts,
  decision: Decision,
): Pick<Rollout, "canaryHealthy" | "failureThreshold" | "safetyChecks"> {
  const { canary, wave } = decision.verdicts;
  const begun = wave === null ? [canary] : [canary, wave];
  const { outcome, rule } = leadingVerdict(facts, decision);
  const passed = outcome === "pass";
  const { reasonsMax } = gateLimits(facts.settings);
  const exceeded = (code: StoppingReason) => begun.some((verdict) => verdict.reasons[code] > reasonsMax[code]);
  return {
    canaryHealthy: canary.outcome === "pass" ? true : canary.outcome === "fail" ? false : null,
    failureThreshold: 100 - facts.settings.convergedPercentMin,
    safetyChecks: [
      { name: "converged-percent", passed: passed ? true : rule === "cannot-pass" ? false : null },
      ...STOPPING_REASONS.map((code) => ({
        name: CHECK_NAMES[code],
        passed: exceeded(code) ? false : passed ? true : null,
      })),
    ],
  };
}

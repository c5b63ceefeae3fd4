import type { RolloutOutcome, RolloutPause, RolloutResume, RolloutStage, RolloutStatus } from "@muto/spec";
import { CASTS, hasFailures } from "./gate.ts";
import type { Cast } from "./gate.ts";
import type { Verdicts } from "./machine.ts";

/** What a person, or another decision of a person, asks of a rollout. */
export type Command =
  | { readonly kind: "pause" }
  | { readonly kind: "resume"; readonly how: RolloutResume["how"] }
  | { readonly kind: "abort" }
  | { readonly kind: "supersede" }
  /** Null is every member that was given the release. */
  | { readonly kind: "rollback"; readonly cast: Cast | null };

export interface CommandFacts {
  readonly status: RolloutStatus;
  readonly stage: RolloutStage;
  readonly outcome: RolloutOutcome | null;
  readonly pause: RolloutPause["cause"] | null;
  /** Whose return was asked for already; null while nobody's was. */
  readonly returning: readonly Cast[] | null;
  /** Members of each stage that were ever given the release. */
  readonly given: Readonly<Record<Cast, number>>;
  readonly verdicts: Verdicts;
}

export type Refusal =
  /** A rollback is carried to its end. */
  | "rolling-back"
  | "ended"
  | "not-paused"
  /** No member of the stage was given the release yet. */
  | "nobody-given"
  | "gate-fails"
  | "something-failed"
  /** Only an inconclusive gate can be accepted, and only its canaries replaced. */
  | "not-inconclusive"
  | "not-canary-stage";

export type Answer =
  | { readonly kind: "do" }
  /** The rollout is already as asked for: repeating a command changes nothing. */
  | { readonly kind: "already" }
  | { readonly kind: "refuse"; readonly refusal: Refusal };

/**
 * Whether a command may be carried out now. The table, by status (aborted and superseded are outcomes of `completed`):
 *
 *              active   paused   rolling_back     rolled_back      completed   aborted   superseded
 *   pause      do       already  rolling-back     ended            ended       ended     ended
 *   resume     already  do       rolling-back     ended            ended       ended     ended
 *   abort      do       do       rolling-back     ended            ended       already   ended
 *   supersede  do       do       do               already          already     already   already
 *   rollback   do       do       already or wider already or wider do          do        do
 */
export function answerCommand(command: Command, facts: CommandFacts): Answer {
  switch (command.kind) {
    case "pause":
      return unlessOver(facts, facts.status === "paused" ? { kind: "already" } : { kind: "do" });
    case "resume":
      return unlessOver(
        facts,
        facts.status === "active" ? answerNeedless(command.how) : answerResume(command.how, facts),
      );
    case "abort":
      if (facts.status === "completed" && facts.outcome === "aborted") return { kind: "already" };
      return unlessOver(facts, { kind: "do" });
    case "supersede":
      return facts.status === "completed" || facts.status === "rolled_back" ? { kind: "already" } : { kind: "do" };
    case "rollback":
      return answerRollback(command.cast, facts);
  }
}

function unlessOver(facts: CommandFacts, answer: Answer): Answer {
  switch (facts.status) {
    case "active":
    case "paused":
      return answer;
    case "rolling_back":
      return { kind: "refuse", refusal: "rolling-back" };
    case "rolled_back":
    case "completed":
      return { kind: "refuse", refusal: "ended" };
  }
}

/** A rollout that is not paused goes on anyway; asking for more than that is a mistake. */
function answerNeedless(how: RolloutResume["how"]): Answer {
  return how === "wait" ? { kind: "already" } : { kind: "refuse", refusal: "not-paused" };
}

/** The gates are judged again before anything goes on. */
function answerResume(how: RolloutResume["how"], facts: CommandFacts): Answer {
  const { canary, wave } = facts.verdicts;
  if (canary.outcome === "fail" || wave?.outcome === "fail") return { kind: "refuse", refusal: "gate-fails" };
  if (how === "wait") return { kind: "do" };
  if (facts.pause !== "inconclusive") return { kind: "refuse", refusal: "not-inconclusive" };
  if (how === "replaceCanaries") {
    return facts.stage === "canary" ? { kind: "do" } : { kind: "refuse", refusal: "not-canary-stage" };
  }
  const verdict = facts.stage === "canary" || facts.stage === "soak" ? canary : wave;
  return verdict !== null && hasFailures(verdict) ? { kind: "refuse", refusal: "something-failed" } : { kind: "do" };
}

function answerRollback(cast: Cast | null, facts: CommandFacts): Answer {
  if (cast !== null && facts.given[cast] === 0) return { kind: "refuse", refusal: "nobody-given" };
  const returning = facts.returning ?? [];
  const asked: readonly Cast[] = cast === null ? CASTS : [cast];
  const wider = asked.some((one) => !returning.includes(one));
  return facts.returning !== null && !wider ? { kind: "already" } : { kind: "do" };
}

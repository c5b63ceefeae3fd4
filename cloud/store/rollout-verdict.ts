import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type { AuditState, GateVerdict } from "@muto/spec";
import { timestamp } from "@muto/kit/clock";
import type { GateRule, Verdict } from "../rollout/gate.ts";
import { SYSTEM } from "./actor.ts";
import { membersWhere } from "./rollout-members.ts";
import type { Turn } from "./rollout-turn.ts";
import { note } from "./rollout-turn.ts";
import { memberCounts } from "./rollouts.ts";
import type { LoadedRollout } from "./rollouts.ts";

const NAMED_VEHICLES_MAX = 100;

/**
 * Keeps the verdict of the present stage with its numbers, its rule and its time. Another outcome or another rule is a
 * change of mind and goes into the audit log; other numbers alone do not.
 */
export async function recordVerdict(turn: Turn, loaded: LoadedRollout, verdict: Verdict): Promise<void> {
  const { row, stages } = loaded;
  const known = stages.find((each) => each.stage === row.stage)?.verdict ?? null;
  const bare = gateVerdictOf(verdict, turn.moment.at, []);
  const sameHead = known !== null && known.verdict === bare.verdict && known.rule === bare.rule;
  if (sameHead && known.stage === bare.stage && isSame(known, bare)) return;
  const next = { ...bare, vehicles: await decidingVehicles(turn, loaded, verdict) };
  await turn.db
    .updateTable("rollout_stages")
    .set({ verdict: JSON.stringify(next) })
    .where("rollout_id", "=", row.id)
    .where("stage", "=", row.stage)
    .execute();
  if (sameHead) return;
  note(turn, {
    actor: SYSTEM,
    action: "rollout.verdict-changed",
    subject: { type: "rollout", id: row.id },
    correlationId: row.correlation_id,
    before: known === null ? null : verdictState(known),
    after: verdictState(next),
  });
}

/** A verdict in the words of the contract. */
export function gateVerdictOf(verdict: Verdict, at: string, vehicles: GateVerdict["vehicles"]): GateVerdict {
  return {
    verdict: verdict.outcome,
    rule: verdict.rule,
    stage: verdict.cast,
    numbers: memberCounts(verdict.counts),
    reasonCounts: {
      crashLoops: verdict.reasons.CRASH_LOOP_DETECTED,
      readinessTimeouts: verdict.reasons.READINESS_TIMEOUT,
      signatureFailures: verdict.reasons.VERIFY_SIGNATURE_FAILED,
    },
    at,
    vehicles,
  };
}

function verdictState(verdict: GateVerdict): AuditState {
  const { vehicles, ...rest } = verdict;
  return { ...rest, vehicles: vehicles.map(({ vehicleId }) => vehicleId) };
}

function isSame(known: GateVerdict, next: Pick<GateVerdict, "numbers" | "reasonCounts">): boolean {
  const flat = ({ numbers, reasonCounts }: typeof next) =>
    JSON.stringify([Object.entries(numbers).toSorted(byName), Object.entries(reasonCounts).toSorted(byName)]);
  return flat(known) === flat(next);
}

function byName([left]: readonly [string, number], [right]: readonly [string, number]): number {
  return left < right ? -1 : 1;
}

/** Whom a failing or inconclusive verdict is about, as many as an answer may name. */
async function decidingVehicles(
  turn: Turn,
  loaded: LoadedRollout,
  { cast, rule }: Verdict,
): Promise<GateVerdict["vehicles"]> {
  const condition = decidedBy(rule, loaded, turn.moment.nowMs);
  if (condition === null) return [];
  const choice = { cast, condition, limit: NAMED_VEHICLES_MAX };
  const members = await membersWhere(turn.db, loaded.row.id, choice, turn.moment);
  return members.map(({ vehicleId, class: memberClass, reasonCodes }) => ({
    vehicleId,
    class: memberClass,
    reasonCodes,
  }));
}

function decidedBy(rule: GateRule, { facts }: LoadedRollout, nowMs: number): RawBuilder<boolean> | null {
  switch (rule) {
    case "reason-limit":
      return sql<boolean>`(crash_loop or readiness_timeout or signature_failure)`;
    case "cannot-pass":
      return sql<boolean>`(terminal in ('failed', 'rolled_back'))`;
    case "stage-deadline":
      return sql<boolean>`(terminal is null)`;
    case "blocked-too-long": {
      const since = timestamp(nowMs - facts.settings.blockedMaxAgeSec * 1000);
      return sql<boolean>`(terminal is null and online and latest = 'blocked' and blocked_since < ${since}::timestamptz)`;
    }
    case "answered":
    case "nobody-planned":
    case "waiting":
      return null;
  }
}

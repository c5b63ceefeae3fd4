import { sql } from "kysely";
import { timestamp } from "@muto/kit/clock";
import type { Actor, AuditAction, RolloutConflict, RolloutResume } from "@muto/spec";
import { answerCommand } from "../rollout/commands.ts";
import type { Command, Refusal } from "../rollout/commands.ts";
import { CASTS } from "../rollout/gate.ts";
import type { Cast, Verdict } from "../rollout/gate.ts";
import { decide, leadingVerdict } from "../rollout/machine.ts";
import type { Decision } from "../rollout/machine.ts";
import { withholdMembers } from "./rollout-assign.ts";
import { replaceUnanswered } from "./rollout-replace.ts";
import { sendBack } from "./rollout-return.ts";
import { endRollout, noteDecision, takeStep } from "./rollout-steps.ts";
import type { Turn } from "./rollout-turn.ts";
import { auditState, loadRollout, lockRollout, updateRollout } from "./rollouts.ts";
import type { LoadedRollout, RolloutRow } from "./rollouts.ts";

export type CommandResult =
  | { readonly kind: "done" | "already" }
  | { readonly kind: "unknown" }
  | {
      readonly kind: "refused";
      readonly refusal: Refusal | "nothing-to-replace" | "claimed-elsewhere";
      readonly row: RolloutRow;
      readonly verdict: Verdict;
      readonly conflicts: readonly RolloutConflict[];
    };

type Refused = Extract<CommandResult, { readonly kind: "refused" }>;

/** Who asked, in whose words. */
export interface CommandBy {
  readonly actor: Actor;
  readonly comment: string | null;
}

/** Steps that are taken at once after a command; the controller takes the rest. */
const STEPS_MAX = 8;

/**
 * Carries a command out inside the caller's transaction, with its one audit entry, and takes the steps that follow from it.
 * Repeating a command changes nothing.
 */
export async function commandRollout(turn: Turn, id: string, command: Command, by: CommandBy): Promise<CommandResult> {
  const row = await lockRollout(turn.db, id, "wait");
  if (row === undefined) return { kind: "unknown" };
  const loaded = await loadRollout(turn.db, row, turn.moment, { holdRelease: true });
  const decision = decide(loaded.facts);
  const answer = answerCommand(command, {
    status: row.status,
    stage: row.stage,
    outcome: row.outcome,
    pause: row.pause?.cause ?? null,
    returning: row.returning_stages,
    given: given(loaded),
    verdicts: decision.verdicts,
  });
  if (answer.kind === "already") return answer;
  const refused = (refusal: Refused["refusal"]): Refused => ({
    kind: "refused",
    refusal,
    row,
    verdict: leadingVerdict(loaded.facts, decision),
    conflicts: [],
  });
  if (answer.kind === "refuse") return refused(answer.refusal);
  switch (command.kind) {
    case "pause":
      await pause(turn, loaded, by);
      break;
    case "resume":
      if (!(await resume(turn, loaded, command.how, decision, by))) return refused("nothing-to-replace");
      break;
    case "abort":
      await stopFor(turn, loaded, { outcome: "aborted" }, "rollout.aborted", by);
      break;
    case "supersede":
      await stopFor(turn, loaded, { outcome: "superseded" }, "rollout.superseded", by);
      break;
    case "rollback": {
      const casts = command.cast === null ? CASTS : [command.cast];
      const conflicts = await claimedElsewhere(turn, id, casts);
      if (conflicts.length > 0) return { ...refused("claimed-elsewhere"), conflicts };
      await sendBack(turn, loaded, casts, by.actor);
      const after = {
        ...auditState({ ...row, status: "rolling_back", outcome: null, pause: null }),
        stages: [...casts],
      };
      noteDecision(turn, row, "rollout.rollback-started", after, by);
      break;
    }
  }
  await settle(turn, id);
  return { kind: "done" };
}

/** Takes the steps that can be taken now; the transaction holds the rollout already. */
export async function settle(turn: Turn, id: string): Promise<void> {
  for (let count = 0; count < STEPS_MAX; count++) {
    const row = await lockRollout(turn.db, id, "wait");
    if (row === undefined) throw new Error(`rollout ${id} is gone`);
    if ((await takeStep(turn, row)).kind === "wait") return;
  }
}

function given({ facts }: LoadedRollout): Readonly<Record<Cast, number>> {
  const count = (cast: Cast) =>
    facts.cohorts.reduce((sum, each) => (each.cast === cast && each.assigned ? sum + each.members : sum), 0);
  return { canary: count("canary"), wave: count("wave") };
}

async function pause(turn: Turn, loaded: LoadedRollout, by: CommandBy): Promise<void> {
  const { row } = loaded;
  const paused = { cause: "operator", at: turn.moment.at, by: by.actor } as const;
  await withholdMembers(turn, loaded);
  await updateRollout(turn, row.id, { status: "paused", pause: JSON.stringify(paused) });
  noteDecision(turn, row, "rollout.paused", auditState({ ...row, status: "paused", pause: paused }), by);
}

const RESUME_ACTIONS = {
  wait: "rollout.resumed",
  replaceCanaries: "rollout.canaries-replaced",
  acceptInconclusive: "rollout.inconclusive-accepted",
} as const satisfies Record<RolloutResume["how"], AuditAction>;

/** False when there is no other vehicle to replace a canary with. */
async function resume(
  turn: Turn,
  loaded: LoadedRollout,
  how: RolloutResume["how"],
  decision: Decision,
  by: CommandBy,
): Promise<boolean> {
  const { row } = loaded;
  const replaced = how === "replaceCanaries" ? await replaceUnanswered(turn, row.id) : undefined;
  if (replaced?.size === 0) return false;
  const clockOf = row.stage === "wave" ? "wave" : "canary";
  if (row.stage !== "watch") {
    await turn.db
      .updateTable("rollout_stages")
      .set({ deadline_at: timestamp(turn.moment.nowMs + row.settings.stageDeadlineSec * 1000) })
      .where("rollout_id", "=", row.id)
      .where("stage", "=", clockOf)
      .execute();
  }
  const accepted = how === "acceptInconclusive";
  await updateRollout(turn, row.id, { status: "active", pause: null, accepted });
  const after = {
    ...auditState({ ...row, status: "active", pause: null }),
    ...(accepted ? { accepted: leadingVerdict(loaded.facts, decision).counts } : {}),
    ...(replaced === undefined ? {} : { replaced: Object.fromEntries(replaced) }),
  };
  noteDecision(turn, row, RESUME_ACTIONS[how], after, by);
  return true;
}

/** Nobody else is assigned, who has not begun is told not to; who has the release keeps it. */
async function stopFor(
  turn: Turn,
  loaded: LoadedRollout,
  ended: { readonly outcome: "aborted" | "superseded" },
  action: AuditAction,
  by: CommandBy,
): Promise<void> {
  const { row } = loaded;
  await withholdMembers(turn, loaded);
  const status = row.status === "rolling_back" ? "rolled_back" : "completed";
  await endRollout(turn, row, { status, ...ended }, action, by);
}

/** Members that would be sent back, and that another unfinished rollout has claimed meanwhile (H27). */
async function claimedElsewhere(turn: Turn, id: string, casts: readonly Cast[]): Promise<readonly RolloutConflict[]> {
  const { rows } = await sql<{ vehicle_id: string; rollout_id: string }>`
    select m.vehicle_id, other.rollout_id
    from rollout_members m
    join rollout_members other on other.vehicle_id = m.vehicle_id and other.open and other.rollout_id <> m.rollout_id
    join vehicles v on v.id = m.vehicle_id
    join assignments newest on newest.vehicle_id = v.id and newest.sequence = v.desired_sequence
    where m.rollout_id = ${id} and m.stage = any (${[...casts]}::text[]) and m.assigned_sequence is not null
      and newest.rollout_id = m.rollout_id
    order by m.vehicle_id limit 100`.execute(turn.db);
  return rows.map((each) => ({ vehicleId: each.vehicle_id, rolloutId: each.rollout_id }));
}

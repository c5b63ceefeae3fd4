import type { Rollout } from "@muto/spec";
import type { Command } from "../../rollout/commands.ts";
import type { Db } from "../../store/database.ts";
import { restoreGuard } from "../../store/restore-guard.ts";
import { commandRollout } from "../../store/rollout-commands.ts";
import type { CommandResult } from "../../store/rollout-commands.ts";
import { closeTurn } from "../../store/rollout-turn.ts";
import { gateVerdictOf } from "../../store/rollout-verdict.ts";
import { viewRollout } from "../../store/rollout-view.ts";
import { findRollout } from "../../store/rollouts.ts";
import type { ApiContext } from "./context.ts";
import { refuse } from "./operation.ts";
import { actorOf } from "./principal.ts";
import type { Principal } from "./principal.ts";
import { turnOf } from "./rollout-turn.ts";

/** What the operations on one rollout have in common. */
export interface RolloutCall {
  readonly at: string;
  readonly params: { readonly id: string };
  readonly body: { readonly comment?: string } | undefined;
  readonly principal: Principal;
  remember(
    trx: Db,
    answer: { readonly status: 200; readonly data: Rollout },
  ): Promise<{ readonly status: 200; readonly data: Rollout }>;
}

/** Carries a command out and answers with how the rollout stands then; one transaction, and a no-op when repeated. */
export async function answerRolloutCommand<Refusal>(
  call: RolloutCall,
  context: ApiContext,
  command: Command,
  refusalOf: (refused: Refused, at: string) => Refusal,
) {
  const { id } = call.params;
  const by = { actor: actorOf(call.principal), comment: call.body?.comment ?? null };
  await context.heartbeats.flush();
  return await context.database.db.transaction().execute(async (trx) => {
    const turn = turnOf(context, trx, call.at);
    const result = await commandRollout(turn, id, command, by);
    if (result.kind === "unknown") return unknownRollout(id);
    if (result.kind === "refused") return refusalOf(result, call.at);
    const row = await findRollout(trx, id);
    if (row === undefined) throw new Error(`rollout ${id} is gone`);
    const data = await viewRollout(trx, row, turn.moment);
    await closeTurn(turn);
    return await call.remember(trx, { status: 200, data });
  });
}

export function unknownRollout(id: string) {
  return refuse("NOT_FOUND", `There is no rollout ${id}.`, { what: "rollout", id });
}

/** Nothing new is started while the database may be older than the world (H16); undefined when all is well. */
export async function restoreRefusal(db: Db) {
  return (await restoreGuard(db)) === undefined
    ? undefined
    : refuse("CONFLICT_RESTORE", "Vehicles know newer assignments than this database; confirm the restore first.");
}

export type Refused = Extract<CommandResult, { readonly kind: "refused" }>;

/** Why pause, abort or rollback cannot be. */
export function stateRefusal({ refusal, row, conflicts }: Refused) {
  const state = { status: row.status };
  switch (refusal) {
    case "rolling-back":
      return refuse("CONFLICT_ROLLOUT_STATE", "The rollout is on its way back, and is carried to its end.", state);
    case "ended":
      return refuse("CONFLICT_ROLLOUT_STATE", "The rollout has ended; only a rollback is still possible.", state);
    case "not-paused":
      return refuse("CONFLICT_ROLLOUT_STATE", "The rollout is not paused.", state);
    case "nobody-given":
      return refuse("CONFLICT_ROLLOUT_STATE", "No member of that stage was given the release.", state);
    case "claimed-elsewhere": {
      const message = "Members to be rolled back belong to another unfinished rollout.";
      return refuse("CONFLICT_ROLLOUT_MEMBER", message, { ...state, conflicts });
    }
    case "gate-fails":
    case "something-failed":
    case "not-inconclusive":
    case "not-canary-stage":
    case "nothing-to-replace":
      throw new Error(`only a resume is refused with ${refusal}`);
  }
}

/** Why a rollout cannot go on, or not in the way that was asked for. */
export function resumeRefusal(refused: Refused, at: string) {
  const { row, verdict } = refused;
  const judged = { status: row.status, verdict: gateVerdictOf(verdict, at, []) };
  switch (refused.refusal) {
    case "gate-fails":
      return refuse("RESUME_REFUSED", "The gate fails; roll back or abort.", judged);
    case "something-failed":
      return refuse("RESUME_REFUSED", "Something failed in the stage, so it cannot be accepted.", judged);
    case "not-inconclusive":
      return refuse("RESUME_REFUSED", "The rollout was not paused for an inconclusive gate.", judged);
    case "not-canary-stage":
      return refuse("RESUME_REFUSED", "Canaries can be replaced only while they are judged.", judged);
    case "nothing-to-replace":
      return refuse("RESUME_REFUSED", "No other vehicle of the same groups is within reach.", judged);
    case "rolling-back":
    case "ended":
    case "not-paused":
    case "nobody-given":
    case "claimed-elsewhere":
      return stateRefusal(refused);
  }
}

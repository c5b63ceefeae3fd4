import { ulid } from "@muto/kit/ids";
import { momentAt } from "../../store/rollout-moment.ts";
import type { Moment } from "../../store/rollout-moment.ts";
import { newTurn } from "../../store/rollout-turn.ts";
import type { Turn } from "../../store/rollout-turn.ts";
import type { Db } from "../../store/database.ts";
import type { ApiContext } from "./context.ts";

/** The moment of a request, for everything about rollouts that it reads and writes. */
export function momentOf(context: ApiContext, at: string): Moment {
  return momentAt(Date.parse(at), context.config.offlineAfterMs);
}

/** A request's transaction as a turn on rollouts; close it after everything else. */
export function turnOf(context: ApiContext, trx: Db, at: string): Turn {
  return newTurn(trx, momentOf(context, at), () => `dsr_${ulid(context.clock, context.random)}`);
}

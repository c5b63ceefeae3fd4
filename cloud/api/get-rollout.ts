import { viewRollout } from "../store/rollout-view.ts";
import { findRollout } from "../store/rollouts.ts";
import type { Handler } from "./server/operation.ts";
import { unknownRollout } from "./server/rollout-command.ts";
import { momentOf } from "./server/rollout-turn.ts";

export const getRollout: Handler<"getRollout"> = async (call, context) => {
  const { db } = context.database;
  await context.heartbeats.flush();
  const row = await findRollout(db, call.params.id);
  if (row === undefined) return unknownRollout(call.params.id);
  return { status: 200, data: await viewRollout(db, row, momentOf(context, call.at)) };
};

import { listMembers } from "../store/rollout-lists.ts";
import { findRollout } from "../store/rollouts.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { unknownRollout } from "./server/rollout-command.ts";
import { momentOf } from "./server/rollout-turn.ts";

export const listRolloutVehicles: Handler<"listRolloutVehicles"> = async (call, context) => {
  const { db } = context.database;
  const { id } = call.params;
  await context.heartbeats.flush();
  if ((await findRollout(db, id)) === undefined) return unknownRollout(id);
  const page = pageOf(call.query);
  const { members, total } = await listMembers(db, id, call.query, page, momentOf(context, call.at));
  return { status: 200, data: members, metadata: page.metadata(total) };
};

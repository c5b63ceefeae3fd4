import { listRolloutSummaries } from "../store/rollout-lists.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const listRollouts: Handler<"listRollouts"> = async (call, context) => {
  const page = pageOf(call.query);
  const { rollouts, total } = await listRolloutSummaries(context.database.db, call.query, page);
  return { status: 200, data: rollouts, metadata: page.metadata(total) };
};

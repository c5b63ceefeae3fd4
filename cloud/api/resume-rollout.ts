import type { Handler } from "./server/operation.ts";
import { answerRolloutCommand, restoreRefusal, resumeRefusal } from "./server/rollout-command.ts";

/** Goes on where it stopped, after the gates were judged again; no stage is skipped. */
export const resumeRollout: Handler<"resumeRollout"> = async (call, context) => {
  const refusal = await restoreRefusal(context.database.db);
  if (refusal !== undefined) return refusal;
  return await answerRolloutCommand(call, context, { kind: "resume", how: call.body?.how ?? "wait" }, resumeRefusal);
};

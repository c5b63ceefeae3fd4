import type { Handler } from "./server/operation.ts";
import { answerRolloutCommand, stateRefusal } from "./server/rollout-command.ts";

/** Sends members back to what was committed there before; all that were given the release, or those of one stage. */
export const rollbackRollout: Handler<"rollbackRollout"> = (call, context) =>
  answerRolloutCommand(call, context, { kind: "rollback", cast: call.body?.stage ?? null }, stateRefusal);

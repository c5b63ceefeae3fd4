import type { Handler } from "./server/operation.ts";
import { answerRolloutCommand, stateRefusal } from "./server/rollout-command.ts";

/** Assigns nobody else; who has the release keeps it, who has not begun is told not to. */
export const abortRollout: Handler<"abortRollout"> = (call, context) =>
  answerRolloutCommand(call, context, { kind: "abort" }, stateRefusal);

import type { Handler } from "./server/operation.ts";
import { answerRolloutCommand, stateRefusal } from "./server/rollout-command.ts";

/** Takes no step forward any more; members that have not begun to switch are told to wait (H10). */
export const pauseRollout: Handler<"pauseRollout"> = (call, context) =>
  answerRolloutCommand(call, context, { kind: "pause" }, stateRefusal);

import type { Clock } from "@muto/kit/clock";
import type { ProviderPlan } from "./mapping.ts";
import type { TopicBoard } from "./topic-board.ts";

/** Often enough that a latched mode whose publisher lives is fresh for every sensible `freshForSec`. */
const REPEAT_MS = 500;

/** Says again what latched topics said, until told to stop. */
export async function repeatLatched(
  plan: ProviderPlan,
  board: TopicBoard,
  clock: Clock,
  stop: AbortSignal,
): Promise<void> {
  if (!plan.topics.some(({ latched }) => latched)) return;
  while (!stop.aborted) {
    await clock.sleep(REPEAT_MS, stop);
    if (!stop.aborted) board.repeat();
  }
}

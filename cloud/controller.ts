import type { Clock } from "@muto/kit/clock";
import { ulid } from "@muto/kit/ids";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { createWake } from "@muto/kit/wake";
import type { Step } from "./rollout/machine.ts";
import { judgedFromMs } from "./rollout/outage.ts";
import type { Database, Db } from "./store/database.ts";
import { momentAt } from "./store/rollout-moment.ts";
import { takeStep } from "./store/rollout-steps.ts";
import { closeTurn, newTurn } from "./store/rollout-turn.ts";
import { lockRollout, rolloutsToLookAt } from "./store/rollouts.ts";

/*
 * The loop that moves rollouts. It is woken by what commits (reports, commands, a raised guard) and by the clock, and a
 * wake carries no meaning: it looks at every rollout that may have something to do and takes one step after the other
 * until there is none. Nothing decided is kept between two steps, so that it may be killed anywhere, and any number of
 * replicas may run: whoever has locked the rollout takes the step, the others go on to the next.
 */

export interface ControllerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Silence after which a vehicle counts as offline. */
  readonly offlineAfterMs: number;
  /** When any vehicle was heard last before this start; null when none ever was. */
  readonly lastHeardMs: number | null;
}

/** The fallback when a wake is lost. */
const POLL_MS = 5_000;
/** Reports of a large fleet wake without end; counting its members again and again would be all that the database does. */
const ROUND_PAUSE_MS_MIN = 250;
const ROUND_PAUSE_SHARE = 3;
const STEPS_PER_VISIT_MAX = 100;

/**
 * Runs until the signal aborts. A failing step is logged and tried again at the next round. After a time in which the control
 * plane was away, asleep or without its database, rollouts are left alone until the fleet has had time to speak up.
 */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { database, clock, logger, offlineAfterMs } = options;
  const wake = createWake(clock);
  await using _listening = await database.listen("muto_work", () => wake.ring());
  let woken = true;
  let lookedMs = options.lastHeardMs;
  let fromMs = -Infinity;
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    const nowMs = clock.wallMs();
    fromMs = Math.max(fromMs, judgedFromMs({ backMs: nowMs, lastMs: lookedMs, offlineAfterMs }));
    if (nowMs >= fromMs) {
      const looked = await round(options, woken, signal).catch((error: unknown) => {
        logger.error("rollouts were not looked at", { error: String(error) });
        return false;
      });
      if (looked) lookedMs = nowMs;
    } else lookedMs = nowMs;
    const tookMs = clock.monotonicMs() - startedMs;
    await clock.sleep(Math.max(ROUND_PAUSE_MS_MIN, tookMs * ROUND_PAUSE_SHARE), signal);
    woken = (await wake.wait(POLL_MS, signal)) === "rung";
  }
}

/** Looks once at every rollout that is due, or, after a wake, at every unfinished one. True when the database answered. */
async function round(options: ControllerOptions, woken: boolean, signal: AbortSignal): Promise<boolean> {
  const { database, clock, logger, offlineAfterMs } = options;
  const { at } = momentAt(clock.wallMs(), offlineAfterMs);
  for (const id of await rolloutsToLookAt(database.db, { at, unfinished: woken })) {
    if (signal.aborted) return true;
    await visit(options, id, signal).catch((error: unknown) =>
      logger.error("a rollout's step failed", { rolloutId: id, error: String(error) }),
    );
  }
  return true;
}

async function visit(options: ControllerOptions, id: string, signal: AbortSignal): Promise<void> {
  for (let steps = 0; steps < STEPS_PER_VISIT_MAX && !signal.aborted; steps++) {
    const step = await advanceRollout(options.database.db, id, options);
    if (step === undefined || step.kind === "wait") return;
    options.logger.info("rollout step taken", { rolloutId: id, step: step.kind });
  }
}

/**
 * One step in one transaction. Undefined when another replica has the rollout, or there is none of this id; `wait` when
 * there is nothing to do now.
 */
export async function advanceRollout(
  db: Db,
  id: string,
  ports: Pick<ControllerOptions, "clock" | "random" | "offlineAfterMs">,
): Promise<Step | undefined> {
  const { clock, random, offlineAfterMs } = ports;
  return await db.transaction().execute(async (trx) => {
    const row = await lockRollout(trx, id, "skip");
    if (row === undefined) return undefined;
    const turn = newTurn(trx, momentAt(clock.wallMs(), offlineAfterMs), () => `dsr_${ulid(clock, random)}`);
    const step = await takeStep(turn, row);
    await closeTurn(turn);
    return step;
  });
}

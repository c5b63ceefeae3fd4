import { sql } from "kysely";
import { appendAudit } from "../store/audit.ts";
import { lowerGuard, restoreGuard, vehiclesAhead } from "../store/restore-guard.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

const ROLLOUTS_MAX = 1000;

/** An operator has looked: vehicles are assigned again, above what they know. Rollouts stay paused, each until it is resumed. */
export const confirmRestore: Handler<"confirmRestore"> = async (call, context) =>
  await context.database.db.transaction().execute(async (trx) => {
    const guard = await restoreGuard(trx);
    if (guard === undefined) return refuse("CONFLICT_RESTORE", "There is no restored database to confirm.");
    const ahead = await vehiclesAhead(trx);
    const paused = await trx
      .selectFrom("rollouts")
      .select("id")
      .where("status", "=", "paused")
      .where(sql<boolean>`pause ->> 'cause' = 'restored-database'`)
      .orderBy("id")
      .limit(ROLLOUTS_MAX)
      .execute();
    const data = {
      confirmedAt: call.at,
      detectedAt: guard.detectedAt,
      vehiclesAhead: ahead,
      pausedRollouts: paused.map(({ id }) => id),
    };
    await lowerGuard(trx);
    await appendAudit(trx, {
      at: call.at,
      actor: actorOf(call.principal),
      action: "database.restore-confirmed",
      subject: { type: "database", id: "control-plane" },
      before: { detectedAt: guard.detectedAt },
      after: { vehiclesAhead: ahead, pausedRollouts: data.pausedRollouts },
      comment: call.body.comment,
    });
    return await call.remember(trx, { status: 200, data });
  });

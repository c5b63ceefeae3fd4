import type { ConvergenceCounts, ConvergenceStatus } from "@muto/spec";
import { selectorSql } from "../inventory/selector-sql.ts";
import { parseSelector } from "../inventory/selector.ts";
import { countFleet } from "../store/fleet.ts";
import { restoreGuard } from "../store/restore-guard.ts";
import { summaryOf, UNFINISHED } from "../store/rollouts.ts";
import { viewTime } from "./server/context.ts";
import type { Handler } from "./server/operation.ts";
import { selectorRefusal } from "./server/selector-refusal.ts";

const ROLLOUTS_MAX = 100;

/** The fleet in numbers: each vehicle once, by what an operator sees and by what it last said. */
export const getFleetSummary: Handler<"getFleetSummary"> = async (call, context) => {
  const time = viewTime(context, call.at);
  const parsed = call.query.selector === undefined ? undefined : parseSelector(call.query.selector);
  if (parsed?.ok === false) return selectorRefusal(parsed);
  const condition = parsed === undefined ? undefined : selectorSql(parsed.selector, time.offlineBefore);
  const { db } = context.database;
  await context.heartbeats.flush();
  const counts = await countFleet(db, condition, time);
  const of = (status: ConvergenceStatus, pick: (row: { online: number; offline: number }) => number) =>
    counts.byConvergence.filter((row) => row.status === status).reduce((sum, row) => sum + pick(row), 0);
  const byConvergence = countsBy((status) => of(status, ({ online, offline }) => online + offline));
  const rollouts = await db
    .selectFrom("rollouts")
    .selectAll()
    .where("status", "in", UNFINISHED)
    .orderBy("created_at", "desc")
    .limit(ROLLOUTS_MAX)
    .execute();
  const vehicles = Object.values(byConvergence).reduce((sum, count) => sum + count, 0);
  const online = countsBy((status) => of(status, (row) => row.online));
  return {
    status: 200,
    data: {
      vehicles,
      byStatus: { ...online, offline: vehicles - Object.values(online).reduce((sum, count) => sum + count, 0) },
      byConvergence,
      topReasonCodes: counts.reasons,
      drifting: counts.drifting,
      topDrift: counts.drift,
      activeRollouts: rollouts.map(summaryOf),
      restorePending: (await restoreGuard(db)) !== undefined,
    },
  };
};

function countsBy(count: (status: ConvergenceStatus) => number): ConvergenceCounts {
  return {
    converged: count("converged"),
    applying: count("applying"),
    pending: count("pending"),
    blocked: count("blocked"),
    failed: count("failed"),
    rolled_back: count("rolled_back"),
  };
}

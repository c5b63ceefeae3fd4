import { countFleet } from "../store/fleet.ts";
import { restoreGuard } from "../store/restore-guard.ts";
import { viewTime } from "./server/context.ts";
import type { Gauge } from "./server/metrics.ts";
import type { Handler } from "./server/operation.ts";

/** Numbers of this replica, and of the fleet as the database has it. */
export const getMetrics: Handler<"getMetrics"> = async (call, context) => {
  const { db } = context.database;
  const counts = await countFleet(db, undefined, viewTime(context, call.at));
  const rollouts = await db
    .selectFrom("rollouts")
    .select((select) => ["status", select.fn.countAll<number>().as("count")])
    .groupBy("status")
    .execute();
  const guarded = (await restoreGuard(db)) !== undefined;
  const gauges: readonly Gauge[] = [
    {
      name: "muto_vehicles",
      help: "Vehicles in service by convergence status and connectivity.",
      samples: counts.byConvergence.flatMap(({ status, online, offline }) => [
        { labels: { status, connectivity: "online" }, value: online },
        { labels: { status, connectivity: "offline" }, value: offline },
      ]),
    },
    {
      name: "muto_vehicle_reasons",
      help: "Vehicles in service by reason code.",
      samples: counts.reasons.map(({ code, vehicles }) => ({ labels: { code }, value: vehicles })),
    },
    {
      name: "muto_vehicle_drift",
      help: "Vehicles in service whose stack does not keep an expectation, by kind of drift.",
      samples: counts.drift.map(({ drift, vehicles }) => ({ labels: { drift }, value: vehicles })),
    },
    {
      name: "muto_vehicles_drifting",
      help: "Vehicles in service whose stack does not keep every expectation.",
      samples: [{ labels: {}, value: counts.drifting }],
    },
    {
      name: "muto_rollouts",
      help: "Rollouts by status.",
      samples: rollouts.map(({ status, count }) => ({ labels: { status }, value: count })),
    },
    {
      name: "muto_restore_pending",
      help: "1 while the database is older than what vehicles know.",
      samples: [{ labels: {}, value: guarded ? 1 : 0 }],
    },
  ];
  return { status: 200, raw: context.metrics.render(gauges) };
};

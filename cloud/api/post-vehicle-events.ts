import { believedTime } from "../inventory/times.ts";
import { appendTimeline, lockVehicle } from "../store/reports.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { speaksFor } from "./server/principal.ts";

/** Adds to a vehicle's timeline, from agents and simulators; the same event twice is stored once. */
export const postVehicleEvents: Handler<"postVehicleEvents"> = async (call, context) => {
  const { id } = call.params;
  if (!speaksFor(call.principal, id)) return refuse("FORBIDDEN", "A vehicle may speak only of itself.");
  const events = "event" in call.body ? [call.body] : call.body;
  return await context.database.db.transaction().execute(async (trx) => {
    const vehicle = await lockVehicle(trx, id);
    if (vehicle === undefined || vehicle.decommissioned_at !== null) {
      return refuse("NOT_FOUND", `There is no vehicle ${id} in service.`, { what: "vehicle", id });
    }
    let stored = 0;
    // One after the other, so that two alike in one request are seen to be alike.
    for (const { event, at, desiredStateRevision, reasonCodes } of events) {
      stored += await appendTimeline(trx, id, [
        {
          event,
          at: believedTime(at, call.at),
          sequence: null,
          revision: desiredStateRevision ?? null,
          stack: null,
          reasonCodes,
          unless: "time",
        },
      ]);
    }
    return { status: 200 as const, data: { stored } };
  });
};

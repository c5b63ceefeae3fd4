import { findVehicleRecord } from "../store/vehicles.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { speaksFor } from "./server/principal.ts";

/** A sign of life with facts or a safety snapshot, from agents and simulators. No gate ever counts it (H18). */
export const postVehicleStatus: Handler<"postVehicleStatus"> = async (call, context) => {
  const { id } = call.params;
  if (!speaksFor(call.principal, id)) return refuse("FORBIDDEN", "A vehicle may speak only of itself.");
  const known = await findVehicleRecord(context.database.db, id, viewTime(context, call.at));
  if (known === undefined || known.decommissioned_at !== null) {
    return refuse("NOT_FOUND", `There is no vehicle ${id} in service.`, { what: "vehicle", id });
  }
  const { facts, safetySnapshot: safety } = call.body;
  context.heartbeats.status({
    vehicleId: id,
    ...(facts === undefined ? {} : { facts }),
    ...(safety === undefined ? {} : { safety }),
  });
  return { status: 200, data: { stored: 1 } };
};

import { viewVehicle } from "../inventory/vehicle-view.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const getVehicle: Handler<"getVehicle"> = async (call, context) => {
  const { id } = call.params;
  await context.heartbeats.flush();
  const view = await viewVehicle(context.database.db, id, viewTime(context, call.at));
  return view === undefined
    ? refuse("NOT_FOUND", `There is no vehicle ${id}.`, { what: "vehicle", id })
    : { status: 200, data: view };
};

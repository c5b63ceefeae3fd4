import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { retireKeys } from "../store/vehicle-keys.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/** Takes a vehicle out of service: its credentials die at once, its history stays. */
export const deleteVehicle: Handler<"deleteVehicle"> = async (call, context) => {
  const outcome = await changeVehicle(call, context, async (trx, vehicle) => {
    if (vehicle.decommissioned_at !== null) return { kind: "unchanged" };
    const actor = actorOf(call.principal);
    await retireKeys(trx, vehicle.id, { at: call.at, by: actorText(actor) });
    await trx.updateTable("vehicles").set({ decommissioned_at: call.at }).where("id", "=", vehicle.id).execute();
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.decommissioned",
      subject: { type: "vehicle", id: vehicle.id },
      before: { keyid: vehicle.key_id, tags: vehicle.tags },
      after: { decommissioned: true },
    });
    return { kind: "changed" };
  });
  if ("data" in outcome) await context.broker.forget(call.params.id);
  return outcome;
};

import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { retireKeys } from "../store/vehicle-keys.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/**
 * Kills the vehicle's credentials: key and unused claims at once, here; its sessions and retained messages at the broker
 * right after. A new claim and a new key bring it back.
 */
export const revokeVehicle: Handler<"revokeVehicle"> = async (call, context) => {
  const outcome = await changeVehicle(call, context, async (trx, vehicle) => {
    if (vehicle.revoked_at !== null) return { kind: "unchanged" };
    const actor = actorOf(call.principal);
    await retireKeys(trx, vehicle.id, { at: call.at, by: actorText(actor) });
    await trx.updateTable("vehicles").set({ revoked_at: call.at }).where("id", "=", vehicle.id).execute();
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.revoked",
      subject: { type: "vehicle", id: vehicle.id },
      before: { keyid: vehicle.key_id },
      after: { keyid: null },
      comment: call.body?.comment ?? null,
    });
    return { kind: "changed" };
  });
  if ("data" in outcome) await context.broker.forget(call.params.id);
  return outcome;
};

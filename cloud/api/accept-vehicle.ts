import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import type { Db } from "../store/database.ts";
import type { VehicleRow } from "../store/reports.ts";
import { activateKey, endCloneAlarm, findKey } from "../store/vehicle-keys.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/**
 * Registers the waiting key with this fingerprint; a former key is revoked and its sessions end. With the vehicle's own key it
 * ends a clone alarm: only a person can say that there is one computer after all.
 */
export const acceptVehicle: Handler<"acceptVehicle"> = async (call, context) => {
  const { keyid, comment } = call.body;
  const outcome = await changeVehicle(call, context, async (trx, vehicle) => {
    if (vehicle.key_id === keyid) return await acceptAgain(trx, call, vehicle);
    const key = await findKey(trx, keyid);
    if (key === undefined || key.vehicleId !== vehicle.id || key.status !== "pending") {
      const message = `The vehicle ${vehicle.id} has no waiting key with this fingerprint.`;
      return { kind: "refused", refusal: refuse("CONFLICT_ENROLMENT", message, { what: "key", id: keyid }) };
    }
    const actor = actorOf(call.principal);
    await activateKey(trx, key, { at: call.at, by: actorText(actor) });
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.accepted",
      subject: { type: "vehicle", id: vehicle.id },
      before: { keyid: vehicle.key_id, alarm: vehicle.clone_alarm_at === null ? "none" : "clone" },
      after: { keyid, alarm: "none" },
      comment: comment ?? null,
    });
    return { kind: "changed" };
  });
  if ("data" in outcome) await context.broker.forget(call.params.id);
  return outcome;
};

async function acceptAgain(
  trx: Db,
  { at, principal, body }: Call<"acceptVehicle">,
  vehicle: VehicleRow,
): Promise<{ readonly kind: "changed" | "unchanged" }> {
  if (vehicle.clone_alarm_at === null) return { kind: "unchanged" };
  await endCloneAlarm(trx, vehicle.id, at);
  await appendAudit(trx, {
    at,
    actor: actorOf(principal),
    action: "vehicle.accepted",
    subject: { type: "vehicle", id: vehicle.id },
    before: { keyid: vehicle.key_id, alarm: "clone" },
    after: { keyid: vehicle.key_id, alarm: "none" },
    comment: body.comment ?? null,
  });
  return { kind: "changed" };
}

import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { findKey } from "../store/vehicle-keys.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/** Drops the waiting key with this fingerprint; it is accepted later only with a claim. */
export const rejectVehicle: Handler<"rejectVehicle"> = (call, context) =>
  changeVehicle(call, context, async (trx, vehicle) => {
    const { keyid, comment } = call.body;
    const key = await findKey(trx, keyid);
    if (key?.vehicleId === vehicle.id && key.status === "rejected") return { kind: "unchanged" };
    if (key === undefined || key.vehicleId !== vehicle.id || key.status !== "pending") {
      const message = `The vehicle ${vehicle.id} has no waiting key with this fingerprint.`;
      return { kind: "refused", refusal: refuse("CONFLICT_ENROLMENT", message, { what: "key", id: keyid }) };
    }
    const actor = actorOf(call.principal);
    await trx
      .updateTable("vehicle_keys")
      .set({ status: "rejected", decided_at: call.at, decided_by: actorText(actor) })
      .where("key_id", "=", keyid)
      .execute();
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.rejected",
      subject: { type: "vehicle", id: vehicle.id },
      before: { pendingKeyid: keyid },
      after: { keyid: vehicle.key_id },
      comment: comment ?? null,
    });
    return { kind: "changed" };
  });

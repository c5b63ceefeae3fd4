import { appendAudit } from "../store/audit.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/** Ends an exclusion; repeating it changes nothing. */
export const includeVehicle: Handler<"includeVehicle"> = (call, context) =>
  changeVehicle(call, context, async (trx, vehicle) => {
    if (vehicle.excluded_at === null) return { kind: "unchanged" };
    await trx
      .updateTable("vehicles")
      .set({ excluded_at: null, excluded_until: null, excluded_reason: null, excluded_by: null, updated_at: call.at })
      .where("id", "=", vehicle.id)
      .execute();
    await appendAudit(trx, {
      at: call.at,
      actor: actorOf(call.principal),
      action: "vehicle.included",
      subject: { type: "vehicle", id: vehicle.id },
      before: { excluded: true, expiresAt: vehicle.excluded_until },
      after: { excluded: false },
      comment: call.body?.comment ?? null,
    });
    return { kind: "changed" };
  });

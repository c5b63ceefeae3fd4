import { readTime } from "../inventory/times.ts";
import { actorText } from "../store/actor.ts";
import { appendAudit } from "../store/audit.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/** Keeps a vehicle out of rollouts and fleet selectors, with a reason, until it expires or is lifted. */
export const excludeVehicle: Handler<"excludeVehicle"> = (call, context) =>
  changeVehicle(call, context, async (trx, vehicle) => {
    const { reason } = call.body;
    const expiresAt = call.body.expiresAt === undefined ? null : (readTime(call.body.expiresAt) ?? "");
    if (expiresAt !== null && expiresAt <= call.at) {
      const problems = [{ path: "/expiresAt", message: "is not a time in the future" }];
      return {
        kind: "refused",
        refusal: refuse("BODY_INVALID", "The exclusion would end before it begins.", { problems }),
      };
    }
    const actor = actorOf(call.principal);
    await trx
      .updateTable("vehicles")
      .set({
        excluded_at: call.at,
        excluded_until: expiresAt,
        excluded_reason: reason,
        excluded_by: actorText(actor),
        updated_at: call.at,
      })
      .where("id", "=", vehicle.id)
      .execute();
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.excluded",
      subject: { type: "vehicle", id: vehicle.id },
      before: { excluded: vehicle.excluded_at !== null, expiresAt: vehicle.excluded_until },
      after: { excluded: true, expiresAt },
      comment: reason,
    });
    return { kind: "changed" };
  });

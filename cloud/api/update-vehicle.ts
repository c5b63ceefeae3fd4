import { appendAudit } from "../store/audit.ts";
import { changeVehicle } from "./server/change-vehicle.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

const TAGS_MAX = 32;

/** Sets and removes tags. It deploys nothing: targets were resolved when they were made (H28). */
export const updateVehicle: Handler<"updateVehicle"> = (call, context) =>
  changeVehicle(call, context, async (trx, vehicle) => {
    const { id } = vehicle;
    if (vehicle.decommissioned_at !== null) {
      return {
        kind: "refused",
        refusal: refuse("NOT_FOUND", `The vehicle ${id} is decommissioned.`, { what: "vehicle", id }),
      };
    }
    const before = vehicle.tags;
    const merged = { ...before, ...call.body.tags };
    const tags = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null));
    if (Object.keys(tags).length > TAGS_MAX) {
      const problem = { path: "/tags", message: `would make more than ${TAGS_MAX} tags` };
      return {
        kind: "refused",
        refusal: refuse("BODY_INVALID", "The vehicle would have too many tags.", { problems: [problem] }),
      };
    }
    const changed = Object.entries(merged).some(([name, value]) => (before[name] ?? null) !== value);
    if (!changed) return { kind: "unchanged" };
    await trx
      .updateTable("vehicles")
      .set({ tags: JSON.stringify(tags), updated_at: call.at })
      .where("id", "=", id)
      .execute();
    await appendAudit(trx, {
      at: call.at,
      actor: actorOf(call.principal),
      action: "vehicle.tags-changed",
      subject: { type: "vehicle", id },
      before: { tags: before },
      after: { tags },
    });
    return { kind: "changed" };
  });

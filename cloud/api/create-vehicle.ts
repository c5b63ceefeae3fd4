import { parsePublicKey } from "@muto/trust/keys";
import { viewVehicle } from "../inventory/vehicle-view.ts";
import { actorText } from "../store/actor.ts";
import { vehicleList } from "../store/assignments.ts";
import { appendAudit } from "../store/audit.ts";
import { findKey, insertKey } from "../store/vehicle-keys.ts";
import { lockVehicle } from "../store/reports.ts";
import { appendVehicleEvents } from "../store/vehicle-events.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";

/** Adds a vehicle, with its key when it is known in advance. The same vehicle again is no error and changes nothing. */
export const createVehicle: Handler<"createVehicle"> = async (call, context) => {
  const { id, tags, publicKey } = call.body;
  const key = publicKey === undefined ? undefined : parsePublicKey(publicKey);
  if (key !== undefined && (!key.ok || key.key.algorithm !== "ed25519")) {
    return refuse("BODY_INVALID", "The public key is not an Ed25519 key in PEM.", {
      problems: [{ path: "/publicKey", message: "is not an Ed25519 public key in PEM" }],
    });
  }
  const registered = key?.ok === true ? key.key : undefined;
  const actor = actorOf(call.principal);
  const time = viewTime(context, call.at);
  return await context.database.db.transaction().execute(async (trx) => {
    const existing = await lockVehicle(trx, id);
    const taken = registered === undefined ? undefined : await findKey(trx, registered.keyid);
    if (taken !== undefined && taken.vehicleId !== id) {
      return refuse("BODY_INVALID", "The public key belongs to another vehicle.", {
        problems: [{ path: "/publicKey", message: "belongs to another vehicle" }],
      });
    }
    if (existing !== undefined) {
      const same =
        existing.decommissioned_at === null &&
        sameTags(existing.tags, tags) &&
        (registered === undefined || existing.key_id === registered.keyid);
      const view = same ? await viewVehicle(trx, id, time) : undefined;
      if (view === undefined) {
        return refuse("CONFLICT_VEHICLE", `There is a vehicle ${id} already, and it is not the same.`, {
          what: "vehicle",
          id,
        });
      }
      return await call.remember(trx, { status: 200, data: view });
    }
    await trx
      .insertInto("vehicles")
      .values({
        id,
        tags: JSON.stringify(tags),
        created_at: call.at,
        updated_at: call.at,
        status_since: call.at,
        key_id: registered?.keyid ?? null,
        public_key: registered?.pem ?? null,
      })
      .execute();
    if (registered !== undefined) {
      await insertKey(trx, {
        vehicleId: id,
        keyid: registered.keyid,
        publicKey: registered.pem,
        status: "active",
        origin: "registered",
        facts: {},
        at: call.at,
        decidedBy: actorText(actor),
      });
    }
    await appendVehicleEvents(trx, time, vehicleList([id]));
    await appendAudit(trx, {
      at: call.at,
      actor,
      action: "vehicle.created",
      subject: { type: "vehicle", id },
      after: { tags, keyid: registered?.keyid ?? null },
    });
    const view = await viewVehicle(trx, id, time);
    if (view === undefined) throw new Error("a vehicle that was just added is not there");
    return await call.remember(trx, { status: 201, data: view, headers: { Location: `/api/v1/vehicles/${id}` } });
  });
};

function sameTags(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

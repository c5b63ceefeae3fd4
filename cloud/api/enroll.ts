import { openEnrolment } from "@muto/trust/documents";
import { enrol } from "../inventory/enrol.ts";
import { vehicleList } from "../store/assignments.ts";
import { appendVehicleEvents } from "../store/vehicle-events.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

const REFUSALS = {
  CLAIM_INVALID: "The claim is unknown, used, expired, or made for another vehicle.",
  VEHICLE_REVOKED: "This key was revoked, or the vehicle is out of service.",
  FORBIDDEN: "This key cannot be registered for this vehicle.",
} as const;

/** A vehicle proves a key and asks to be known by it. The envelope must be signed with the very key that it names. */
export const enroll: Handler<"enroll"> = async (call, context) => {
  const opened = openEnrolment(call.body);
  if (!opened.ok) return refuse("SIGNATURE_INVALID", "The enrolment is not signed with the key that it names.");
  const { document, key } = opened;
  if (key.algorithm !== "ed25519") return refuse("SIGNATURE_INVALID", "A vehicle's key is an Ed25519 key.");
  if (document.tenant !== context.config.tenant) return refuse("FORBIDDEN", "The enrolment is for another tenant.");
  const { vehicleId } = document;
  const outcome = await context.database.db.transaction().execute(async (trx) => {
    const answer = await enrol(trx, document, key, call.at);
    if (answer.kind !== "refused") await appendVehicleEvents(trx, viewTime(context, call.at), vehicleList([vehicleId]));
    return answer;
  });
  switch (outcome.kind) {
    case "accepted":
      return { status: 200, data: { vehicleId, keyid: key.keyid, state: "accepted" } };
    case "pending":
      context.logger.warn("a key waits for an operator", { vehicleId, keyid: key.keyid });
      return { status: 202, data: { vehicleId, keyid: key.keyid, state: "pending" } };
    case "refused":
      context.logger.warn("enrolment refused", { vehicleId, keyid: key.keyid, code: outcome.code });
      return refuse(outcome.code, REFUSALS[outcome.code]);
  }
};

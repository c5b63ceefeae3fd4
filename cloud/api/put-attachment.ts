import { digestOf } from "@muto/oci/digest";
import { shifted } from "../inventory/times.ts";
import { saveAttachment } from "../store/attachments.ts";
import { namesAttachment } from "../store/reports.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

const KEPT_MS = 30 * 24 * 3600 * 1000;

/** Takes the output tail that a stored report of this vehicle names: content-addressed, bounded in size, number and time. */
export const putAttachment: Handler<"putAttachment"> = async (call, context) => {
  const { digest } = call.params;
  if (call.principal.kind !== "vehicle") return refuse("FORBIDDEN", "Only a vehicle may hand in its output.");
  if (!(call.body instanceof Uint8Array)) return refuse("BODY_INVALID", "The body is missing.");
  const bytes = call.body;
  if (digestOf(bytes) !== digest) return refuse("DIGEST_MISMATCH", "The bytes do not have the digest in the path.");
  const { db } = context.database;
  const vehicleId = call.principal.id;
  if (!(await namesAttachment(db, vehicleId, digest))) {
    return refuse("ATTACHMENT_UNEXPECTED", "No stored report of this vehicle names this attachment.");
  }
  await saveAttachment(db, { digest, vehicleId, bytes, at: call.at, expiresAt: shifted(call.at, KEPT_MS) });
  return { status: 200, data: { digest, bytes: bytes.byteLength } };
};

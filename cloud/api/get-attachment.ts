import { readAttachment } from "../store/attachments.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

/** Output of a vehicle, as bytes: never shown as a page, whatever it contains. */
export const getAttachment: Handler<"getAttachment"> = async (call, context) => {
  const { digest } = call.params;
  const bytes = await readAttachment(context.database.db, digest, call.at);
  if (bytes === undefined)
    return refuse("NOT_FOUND", "There is no such attachment, or no longer.", { what: "attachment", id: digest });
  return { status: 200, raw: bytes, headers: { "Content-Disposition": "attachment" } };
};

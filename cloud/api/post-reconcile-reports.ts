import { HEADERS } from "@muto/spec";
import { ingestReconcile } from "../inventory/ingest-reconcile.ts";
import { viewTime } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

/** Takes signed reports of the vehicle that asks; each is answered on its own, and what is answered as stored is stored. */
export const postReconcileReports: Handler<"postReconcileReports"> = async (call, context) => {
  if (call.principal.kind !== "vehicle") return refuse("FORBIDDEN", "Only a vehicle may report.");
  const envelopes = "payloadType" in call.body ? [call.body] : call.body;
  const { receipts, acknowledged } = await ingestReconcile(
    context.database.db,
    call.principal.id,
    envelopes,
    viewTime(context, call.at),
  );
  for (const { result } of receipts) context.metrics.count("muto_reports_total", { result });
  const headers = acknowledged === undefined ? {} : { [HEADERS.mutoAcknowledgedSeq]: String(acknowledged.seq) };
  return { status: 200, data: { receipts }, headers };
};

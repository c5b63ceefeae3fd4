import { ulid } from "@muto/kit/ids";
import { HEADERS } from "@muto/spec";
import type { Envelope, PlainReconcileReport, ReportReceipt } from "@muto/spec";
import { ingestPlain } from "../inventory/ingest-plain.ts";
import { ingestReconcile } from "../inventory/ingest-reconcile.ts";
import type { Ingestion } from "../inventory/ingest-reconcile.ts";
import { viewTime } from "./server/context.ts";
import type { ApiContext } from "./server/context.ts";
import type { Call, Handler } from "./server/operation.ts";
import { speaksFor } from "./server/principal.ts";

/** Takes reports, signed or plain; each is answered on its own, and what is answered as stored is stored. */
export const postReconcileReports: Handler<"postReconcileReports"> = async (call, context) => {
  const elements = Array.isArray(call.body) ? call.body : [call.body];
  const signed = elements.flatMap((element, index) => (isSigned(element) ? [{ element, index }] : []));
  const ingested = await takeSigned(
    call,
    context,
    signed.map(({ element }) => element),
  );
  const receipts: ReportReceipt[] = [];
  for (const [index, element] of elements.entries()) {
    const place = signed.findIndex((each) => each.index === index);
    const receipt = ingested.receipts[place];
    if (receipt !== undefined) receipts.push({ ...receipt, index });
    else if (!isSigned(element)) receipts.push(await takePlain(call, context, index, element));
  }
  for (const { result } of receipts) context.metrics.count("muto_reports_total", { result });
  const { acknowledged } = ingested;
  const headers = acknowledged === undefined ? {} : { [HEADERS.mutoAcknowledgedSeq]: String(acknowledged.seq) };
  return { status: 200, data: { receipts }, headers };
};

type Element = Envelope | PlainReconcileReport;

function isSigned(element: Element): element is Envelope {
  return "payloadType" in element;
}

/** An envelope counts only from the vehicle that signed it: an operator has no business handing one in. */
async function takeSigned(
  call: Call<"postReconcileReports">,
  context: ApiContext,
  envelopes: readonly Envelope[],
): Promise<Ingestion> {
  const { principal } = call;
  if (principal.kind === "vehicle" && envelopes.length > 0) {
    return await ingestReconcile(context.database.db, principal.id, envelopes, viewTime(context, call.at));
  }
  const receipts = envelopes.map((_, index): ReportReceipt => ({ index, result: "refused", error: "FORBIDDEN" }));
  return { receipts, acknowledged: undefined };
}

async function takePlain(
  call: Call<"postReconcileReports">,
  context: ApiContext,
  index: number,
  report: PlainReconcileReport,
): Promise<ReportReceipt> {
  if (!speaksFor(call.principal, report.vehicleId)) return { index, result: "refused", error: "FORBIDDEN" };
  const reportId = ulid(context.clock, context.random);
  return await ingestPlain(context.database.db, index, report, reportId, viewTime(context, call.at));
}

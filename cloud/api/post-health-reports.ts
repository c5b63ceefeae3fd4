import type { ReportReceipt } from "@muto/spec";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

/**
 * Takes health reports of the vehicle that asks: the last one counts. A heartbeat is never kept by whoever sends it, so the
 * answer does not wait until it is written; that takes a moment, and until then it is shown from memory.
 */
export const postHealthReports: Handler<"postHealthReports"> = async (call, context) => {
  const { principal } = call;
  if (principal.kind !== "vehicle") return refuse("FORBIDDEN", "Only a vehicle may report.");
  const reports = "kind" in call.body ? [call.body] : call.body;
  const receipts = reports.map((report, index): ReportReceipt => {
    if (report.vehicleId !== principal.id) return { index, result: "refused", error: "FORBIDDEN" };
    context.heartbeats.health(principal.id, report);
    return { index, result: "stored", error: null };
  });
  for (const { result } of receipts) context.metrics.count("muto_health_reports_total", { result });
  return { status: 200, data: { receipts } };
};

import { listReports } from "../store/reports.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const listReconcileReports: Handler<"listReconcileReports"> = async (call, context) => {
  const page = pageOf(call.query);
  const { rows, total } = await listReports(context.database.db, call.query.vehicleId, page);
  const data = rows.map((row) => ({ receivedAt: row.received_at, keyid: row.key_id ?? "", report: row.body }));
  return { status: 200, data, metadata: page.metadata(total) };
};

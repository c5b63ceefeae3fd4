import { listHealth } from "../store/health.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const listHealthReports: Handler<"listHealthReports"> = async (call, context) => {
  const page = pageOf(call.query);
  await context.heartbeats.flush();
  const { rows, total } = await listHealth(context.database.db, call.query.vehicleId, page);
  const data = rows.map((row) => ({ receivedAt: row.received_at, report: row.body }));
  return { status: 200, data, metadata: page.metadata(total) };
};

import { selectorSql } from "../inventory/selector-sql.ts";
import { parseSelector } from "../inventory/selector.ts";
import { summaryOf } from "../inventory/vehicle-view.ts";
import { listVehicleRecords } from "../store/vehicles.ts";
import type { VehicleSort } from "../store/vehicles.ts";
import { viewTime } from "./server/context.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";
import { selectorRefusal } from "./server/selector-refusal.ts";

const SORTS: Readonly<Record<string, VehicleSort>> = {
  id: "id",
  status: "status",
  statusSince: "statusSince",
  lastSeenAt: "lastSeenAt",
  createdAt: "createdAt",
};

export const listVehicles: Handler<"listVehicles"> = async (call, context) => {
  const { selector: text, model, region, ring, status, reasonCode, drifting, search, sort } = call.query;
  const time = viewTime(context, call.at);
  const selector = text === undefined ? undefined : parseSelector(text);
  if (selector?.ok === false) return selectorRefusal(selector);
  await context.heartbeats.flush();
  const page = pageOf(call.query);
  const { records, total } = await listVehicleRecords(
    context.database.db,
    {
      condition: selector === undefined ? undefined : selectorSql(selector.selector, time.offlineBefore),
      model,
      region,
      ring,
      status,
      reasonCode,
      drifting,
      search,
    },
    { by: SORTS[sort.replace("-", "")] ?? "id", descending: sort.startsWith("-") },
    page,
    time,
  );
  return { status: 200, data: records.map(summaryOf), metadata: page.metadata(total) };
};

import { readTime } from "../inventory/times.ts";
import { listAudit } from "../store/audit.ts";
import { pageOf, refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const listAuditEntries: Handler<"listAuditEntries"> = async (call, context) => {
  const { actor, action, correlationId } = call.query;
  const from = call.query.from === undefined ? undefined : (readTime(call.query.from) ?? null);
  const to = call.query.to === undefined ? undefined : (readTime(call.query.to) ?? null);
  if (from === null || to === null) {
    const problems = [{ path: from === null ? "from" : "to", message: "is not a time" }];
    return refuse("QUERY_INVALID", "The time range cannot be read.", { problems });
  }
  const page = pageOf(call.query);
  const { entries, total } = await listAudit(
    context.database.db,
    {
      ...(actor === undefined ? {} : { actor }),
      ...(action === undefined ? {} : { action }),
      ...(correlationId === undefined ? {} : { correlationId }),
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    },
    page,
  );
  return { status: 200, data: entries, metadata: page.metadata(total) };
};

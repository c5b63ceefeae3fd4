import { listReleaseRows, releaseOf } from "../store/release-rows.ts";
import type { ReleaseSort } from "../store/release-rows.ts";
import { pageOf } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

const SORTS: Readonly<Record<string, ReleaseSort>> = {
  createdAt: "createdAt",
  stackName: "stackName",
  version: "version",
};

export const listReleases: Handler<"listReleases"> = async (call, context) => {
  const { stack, sort } = call.query;
  const page = pageOf(call.query);
  const order = { by: SORTS[sort.replace("-", "")] ?? "createdAt", descending: sort.startsWith("-") };
  const { rows, total } = await listReleaseRows(context.database.db, stack, order, page);
  return { status: 200, data: rows.map(releaseOf), metadata: page.metadata(total) };
};

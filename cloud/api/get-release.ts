import { findRelease, releaseOf } from "../store/release-rows.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const getRelease: Handler<"getRelease"> = async (call, context) => {
  const { stack, version } = call.params;
  const row = await findRelease(context.database.db, stack, version);
  const id = `${stack}/${version}`;
  return row === undefined
    ? refuse("NOT_FOUND", `There is no release ${id}.`, { what: "release", id })
    : { status: 200, data: releaseOf(row) };
};

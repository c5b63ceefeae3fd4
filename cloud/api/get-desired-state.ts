import { readDesiredState } from "../store/desired-states.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const getDesiredState: Handler<"getDesiredState"> = async (call, context) => {
  const { revision } = call.params;
  const state = await readDesiredState(context.database.db, revision);
  return state === undefined
    ? refuse("NOT_FOUND", `There is no desired state ${revision}.`, { what: "desired-state", id: revision })
    : { status: 200, data: state };
};

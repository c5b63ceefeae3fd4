import { readTrustRoot } from "../store/trust-roots.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

export const getTrustRoot: Handler<"getTrustRoot"> = async (call, context) => {
  const envelope = await readTrustRoot(context.database.db, call.params.n);
  return envelope === undefined
    ? refuse("NOT_FOUND", `There is no version ${call.params.n} of the trust root.`, {
        what: "trust-root",
        id: String(call.params.n),
      })
    : { status: 200, data: envelope };
};

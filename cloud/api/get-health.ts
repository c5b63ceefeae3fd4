import type { Handler } from "./server/operation.ts";

/** The process works and answers; whether it can do its work is readiness. */
export const getHealth: Handler<"getHealth"> = (_call, context) =>
  Promise.resolve({
    status: 200,
    data: { status: context.stopping.aborted ? "stopping" : "ok", version: context.config.version },
  });

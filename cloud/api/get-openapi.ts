import { OPENAPI } from "@muto/spec/openapi";
import type { Handler } from "./server/operation.ts";

export const getOpenapi: Handler<"getOpenapi"> = () =>
  Promise.resolve({ status: 200, raw: JSON.stringify(OPENAPI), headers: { "Cache-Control": "max-age=300" } });

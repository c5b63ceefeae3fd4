import { sql } from "kysely";
import type { ApiContext } from "./server/context.ts";
import { refuse } from "./server/operation.ts";
import type { Handler } from "./server/operation.ts";

const PROBE_TIMEOUT_MS = 2_000;
const RETRY_AFTER_SEC = 2;

/**
 * Whether requests should be sent here: yes as long as the database answers. Without broker or registry vehicles still
 * converge, so their absence degrades and does not refuse.
 */
export const getReadiness: Handler<"getReadiness"> = async (_call, context) => {
  if (context.stopping.aborted)
    return refuse("UNAVAILABLE", "The control plane is stopping.", { retryAfterSec: RETRY_AFTER_SEC });
  if (!(await databaseAnswers(context))) {
    return refuse("UNAVAILABLE", "The database does not answer.", { retryAfterSec: RETRY_AFTER_SEC });
  }
  const broker = context.broker.state();
  const registry = (await registryAnswers(context)) ? "ok" : "unreachable";
  const status = broker === "unreachable" || registry === "unreachable" ? "degraded" : "ok";
  return { status: 200, data: { status, version: context.config.version, database: "ok", broker, registry } };
};

async function databaseAnswers({ database, clock }: ApiContext): Promise<boolean> {
  const answer = sql`select 1`.execute(database.db).then(
    () => true,
    () => false,
  );
  return await Promise.race([answer, clock.sleep(PROBE_TIMEOUT_MS).then(() => false)]);
}

async function registryAnswers({ releaseSource, clock }: ApiContext): Promise<boolean> {
  const enough = new AbortController();
  const answer = releaseSource.alive(enough.signal).catch(() => false);
  const first = await Promise.race([answer, clock.sleep(PROBE_TIMEOUT_MS, enough.signal).then(() => false)]);
  enough.abort();
  return first;
}

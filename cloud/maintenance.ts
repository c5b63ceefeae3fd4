import type { Clock } from "@muto/kit/clock";
import { timestamp } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import { sweepSilent } from "./inventory/sweep.ts";
import { shifted } from "./inventory/times.ts";
import type { Database } from "./store/database.ts";
import { trimHistory } from "./store/trim.ts";

export interface MaintenanceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly offlineAfterMs: number;
}

const SWEEP_MS = 5_000;
const TRIM_MS = 600_000;
const UPKEEP_MS = 10_000;
/** After an outage of ours nobody was heard: vehicles get the time of two polls to say that they are there. */
const FIRST_SWEEP_MS_MAX = 60_000;

/** What has to be done now and then by one replica or another: notice silence, keep history and engine within their bounds. */
export function startMaintenance(options: MaintenanceOptions): AsyncDisposable {
  const { clock, database, offlineAfterMs } = options;
  const stop = new AbortController();
  const sweep = async () => {
    for (let more = true; more && !stop.signal.aborted;) {
      const at = timestamp(clock.wallMs());
      ({ more } = await sweepSilent(database.db, { at, offlineBefore: shifted(at, -offlineAfterMs) }));
    }
  };
  const trim = async () => await trimHistory(database.db, timestamp(clock.wallMs()));
  const running = Promise.all([
    clock
      .sleep(Math.min(offlineAfterMs, FIRST_SWEEP_MS_MAX), stop.signal)
      .then(() => every(SWEEP_MS, sweep, options, stop.signal)),
    every(TRIM_MS, trim, options, stop.signal),
    every(UPKEEP_MS, async () => await database.upkeep(), options, stop.signal),
  ]);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

async function every(
  ms: number,
  work: () => Promise<void>,
  { clock, logger }: MaintenanceOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(ms, signal);
    if (signal.aborted) return;
    await work().catch((error: unknown) =>
      logger.error("maintenance failed", { error: error instanceof Error ? error.message : String(error) }),
    );
  }
}

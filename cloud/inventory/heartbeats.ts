import type { Clock } from "@muto/kit/clock";
import { timestamp } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { HealthReport } from "@muto/spec";
import type { Db } from "../store/database.ts";
import { saveHeartbeats } from "../store/health.ts";
import type { Heartbeat } from "../store/health.ts";
import { believedTime, shifted } from "./times.ts";

/**
 * Signs of life are many and only the last one counts, so they are gathered for a moment and written together: two
 * thousand vehicles cost a few statements a second, not hundreds. A crash loses at most that moment, and the next poll or
 * heartbeat brings it again. Whoever reads through the API of this replica sees what waits here, because it is written first.
 */
export interface Heartbeats extends AsyncDisposable {
  /** The vehicle proved its key just now. */
  seen(vehicleId: string): void;
  health(vehicleId: string, report: HealthReport): void;
  /** Facts or a safety snapshot without a report. */
  status(heartbeat: Omit<Heartbeat, "at" | "report" | "reportAt">): void;
  /** Writes what is waiting now, so that what is read next shows it. Rejects when the database refuses; it is tried again. */
  flush(): Promise<void>;
}

export interface HeartbeatsOptions {
  readonly db: Db;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly offlineAfterMs: number;
  readonly flushMs?: number;
}

const FLUSH_MS = 1_000;
/** More vehicles than this within one moment wait for their next sign of life. */
const WAITING_MAX = 100_000;

export function startHeartbeats(options: HeartbeatsOptions): Heartbeats {
  const { db, clock, logger, offlineAfterMs, flushMs = FLUSH_MS } = options;
  const stop = new AbortController();
  let waiting = new Map<string, Heartbeat>();
  let writing: Promise<void> = Promise.resolve();

  const add = (heartbeat: Heartbeat) => {
    if (waiting.size >= WAITING_MAX && !waiting.has(heartbeat.vehicleId)) return;
    waiting.set(heartbeat.vehicleId, merged(waiting.get(heartbeat.vehicleId), heartbeat));
  };
  const write = async () => {
    const batch = waiting;
    if (batch.size === 0) return;
    waiting = new Map();
    const at = timestamp(clock.wallMs());
    try {
      await saveHeartbeats(db, [...batch.values()], { at, offlineBefore: shifted(at, -offlineAfterMs) });
    } catch (error) {
      logger.error("heartbeats not stored", { vehicles: batch.size, error });
      for (const [vehicleId, later] of waiting) batch.set(vehicleId, merged(batch.get(vehicleId), later));
      waiting = batch;
      throw error;
    }
  };
  const flush = () => {
    writing = writing.catch(ignore).then(write);
    return writing;
  };
  const running = (async () => {
    while (!stop.signal.aborted) {
      await clock.sleep(flushMs, stop.signal);
      await flush().catch(ignore);
    }
  })();

  const now = () => timestamp(clock.wallMs());
  return {
    seen: (vehicleId) => add({ vehicleId, at: now() }),
    health: (vehicleId, report) => {
      const at = now();
      add({
        vehicleId,
        at,
        facts: { ...report.facts, agentVersion: report.agentVersion, diskFreeMb: report.diskFreeMb },
        safety: report.safetySnapshot,
        rollbackReady: report.rollbackReady,
        report,
        reportAt: believedTime(report.at, at),
      });
    },
    status: (heartbeat) => add({ ...heartbeat, at: now() }),
    flush,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await flush().catch(ignore);
    },
  };
}

function ignore(): void {
  // It is in the log, and what could not be written waits for the next time.
}

/** What came later wins field by field; a poll after a health report does not forget the report. */
function merged(earlier: Heartbeat | undefined, later: Heartbeat): Heartbeat {
  if (earlier === undefined) return later;
  const facts = { ...earlier.facts, ...later.facts };
  return { ...earlier, ...later, facts };
}

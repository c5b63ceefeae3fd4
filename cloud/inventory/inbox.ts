import type { Clock } from "@muto/kit/clock";
import { timestamp } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Inbox } from "../link/inbound.ts";
import type { Db } from "../store/database.ts";
import { createKeyReader } from "../trust/known-keys.ts";
import type { Heartbeats } from "./heartbeats.ts";
import { ingestReconcile } from "./ingest-reconcile.ts";
import { shifted } from "./times.ts";

/** What comes over MQTT goes the same way as what comes over HTTP; only the answer has nowhere to go. */
export function inboxOf(options: {
  readonly db: Db;
  readonly heartbeats: Heartbeats;
  readonly offlineAfterMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}): Inbox {
  const { db, heartbeats, offlineAfterMs, clock, logger } = options;
  const readKey = createKeyReader();
  return {
    reconcile: async (vehicleId, envelopes) => {
      const at = timestamp(clock.wallMs());
      const time = { at, offlineBefore: shifted(at, -offlineAfterMs) };
      const { receipts } = await ingestReconcile(db, vehicleId, envelopes, time, readKey);
      const refused = receipts.filter(({ result }) => result === "refused").length;
      if (refused > 0) logger.warn("reports refused", { vehicleId, refused });
    },
    health: async (reports) => {
      for (const report of reports) heartbeats.health(report.vehicleId, report);
    },
    // A last will says only that a connection ended; a vehicle is offline when nothing at all was heard of it for too long.
    presence: async ({ online }) => {
      for (const vehicleId of online) heartbeats.seen(vehicleId);
    },
  };
}

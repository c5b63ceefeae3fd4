import { sql } from "kysely";
import type { Clock } from "@muto/kit/clock";
import { timestamp } from "@muto/kit/clock";
import type { NotifyQueue } from "../link/notifier.ts";
import type { Db } from "./database.ts";

/** Newest assignments whose notify is not recorded as sent. What is recorded survives a crash; a doubled notify does no harm. */
export function notifyQueue(db: Db, clock: Clock): NotifyQueue {
  return {
    pending: async (limit) => {
      const rows = await db
        .selectFrom("assignments")
        .innerJoin("vehicles", "vehicles.id", "assignments.vehicle_id")
        .select(["assignments.vehicle_id", "assignments.sequence", "assignments.revision"])
        .where("assignments.notified_at", "is", null)
        .where("assignments.superseded_at", "is", null)
        .where("vehicles.revoked_at", "is", null)
        .where("vehicles.decommissioned_at", "is", null)
        .orderBy("assignments.vehicle_id")
        .limit(limit)
        .execute();
      return rows.map((row) => ({
        vehicleId: row.vehicle_id,
        sequence: row.sequence,
        desiredStateRevision: row.revision,
      }));
    },
    markSent: async (sent) => {
      const vehicleIds = sent.map(({ vehicleId }) => vehicleId);
      const sequences = sent.map(({ sequence }) => sequence);
      await sql`
        update assignments set notified_at = ${timestamp(clock.wallMs())}::timestamptz
        from unnest(${vehicleIds}::text[], ${sequences}::bigint[]) as sent (vehicle_id, sequence)
        where assignments.vehicle_id = sent.vehicle_id and assignments.sequence = sent.sequence`.execute(db);
    },
    forgetSent: async () => {
      await db
        .updateTable("assignments")
        .set({ notified_at: null })
        .where("superseded_at", "is", null)
        .where("notified_at", "is not", null)
        .execute();
    },
  };
}

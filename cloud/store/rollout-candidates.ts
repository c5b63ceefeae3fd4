import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type { Facts, SafetySnapshot, VehicleSummary } from "@muto/spec";
import { excludedSql } from "../inventory/target.ts";
import type { Candidate } from "../rollout/plan.ts";
import type { Db } from "./database.ts";
import { onlineSql } from "./vehicle-events.ts";
import type { ViewTime } from "./vehicle-events.ts";

/** Everything that planning wants to know of the vehicles of a subquery with the one column `vehicle_id`. */
export async function readCandidates(
  db: Db,
  vehicles: RawBuilder<{ vehicle_id: string }>,
  time: ViewTime,
): Promise<readonly Candidate[]> {
  const { rows } = await sql<{
    id: string;
    region: string | null;
    model: string | null;
    facts: Facts;
    online: boolean;
    status: VehicleSummary["convergence"];
    rollback_ready: boolean | null;
    drifting: boolean;
    safety: SafetySnapshot | null;
    safety_at: string | null;
    committed_digest: string | null;
    desired_digest: string | null;
    excluded: boolean;
    rollout_id: string | null;
  }>`
    select v.id, v.region, v.model, v.facts, ${onlineSql(time.offlineBefore)} as online, v.status, v.rollback_ready,
      v.drift <> '[]'::jsonb as drifting,
      v.safety, v.safety_at, v.committed_digest, v.desired_digest, ${excludedSql(time.at)} as excluded, claim.rollout_id
    from vehicles v
    left join rollout_members claim on claim.vehicle_id = v.id and claim.open
    where v.id in (${vehicles})
    order by v.id`.execute(db);
  return rows.map((row) => ({
    vehicleId: row.id,
    region: row.region,
    model: row.model,
    facts: row.facts,
    online: row.online,
    convergence: row.status,
    rollbackReady: row.rollback_ready,
    drifting: row.drifting,
    safety: row.safety,
    safetyAt: row.safety_at,
    committedDigest: row.committed_digest,
    desiredDigest: row.desired_digest,
    excluded: row.excluded,
    rolloutId: row.rollout_id,
  }));
}

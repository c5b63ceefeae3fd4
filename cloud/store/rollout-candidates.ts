import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type { Facts, SafetySnapshot, VehicleSummary } from "@muto/spec";
import { selectorSql } from "../inventory/selector-sql.ts";
import type { Selector } from "../inventory/selector.ts";
import type { Candidate } from "../rollout/plan.ts";
import type { Db } from "./database.ts";
import { onlineSql } from "./vehicle-events.ts";
import type { ViewTime } from "./vehicle-events.ts";

/** A target with its selector read. */
export type ReadTarget =
  | { readonly type: "fleetSelector"; readonly selector: Selector }
  | { readonly type: "vehicleList"; readonly vehicleIds: readonly string[] };

/** The vehicles of a target as a condition on the vehicle `v`; resolved once, when it is asked (H28). */
export function targetSql(target: ReadTarget, time: ViewTime): RawBuilder<boolean> {
  return target.type === "fleetSelector"
    ? selectorSql(target.selector, time.offlineBefore)
    : sql<boolean>`v.id = any (${[...target.vehicleIds]}::text[])`;
}

/** Kept out of rollouts: by a person, because its key is revoked, or because two installations answer for it (H19). */
export function keptOutSql(time: ViewTime): RawBuilder<boolean> {
  return sql<boolean>`(v.revoked_at is not null or v.clone_alarm_at is not null or ${excludedSql(time)})`;
}

export function excludedSql(time: ViewTime): RawBuilder<boolean> {
  return sql<boolean>`(v.excluded_at is not null and coalesce(v.excluded_until > ${time.at}::timestamptz, true))`;
}

/** Everything that planning wants to know of the vehicles that satisfy a condition. */
export async function readCandidates(
  db: Db,
  condition: RawBuilder<boolean>,
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
    safety: SafetySnapshot | null;
    safety_at: string | null;
    committed_digest: string | null;
    desired_digest: string | null;
    kept_out: boolean;
    rollout_id: string | null;
  }>`
    select v.id, v.region, v.model, v.facts, ${onlineSql(time.offlineBefore)} as online, v.status, v.rollback_ready,
      v.safety, v.safety_at, v.committed_digest, v.desired_digest, ${keptOutSql(time)} as kept_out, claim.rollout_id
    from vehicles v
    left join rollout_members claim on claim.vehicle_id = v.id and claim.open
    where ${condition} and v.decommissioned_at is null
    order by v.id`.execute(db);
  return rows.map((row) => ({
    vehicleId: row.id,
    region: row.region,
    model: row.model,
    facts: row.facts,
    online: row.online,
    convergence: row.status,
    rollbackReady: row.rollback_ready,
    safety: row.safety,
    safetyAt: row.safety_at,
    committedDigest: row.committed_digest,
    desiredDigest: row.desired_digest,
    excluded: row.kept_out,
    rolloutId: row.rollout_id,
  }));
}

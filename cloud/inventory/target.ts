import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type { Target } from "@muto/spec";
import type { Db } from "../store/database.ts";
import { vehicleList } from "../store/assignments.ts";
import type { ViewTime } from "../store/vehicle-events.ts";
import { parseSelector } from "./selector.ts";
import { selectorSql } from "./selector-sql.ts";

/** Which vehicles a target names at this moment. Resolve it once and store the answer: a later tag edit deploys nothing (H28). */
export type TargetQuery =
  | {
      readonly ok: true;
      /** One column, `vehicle_id`; for use inside a larger statement. */
      readonly members: RawBuilder<{ vehicle_id: string }>;
    }
  | { readonly ok: false; readonly position: number; readonly expected: string };

/**
 * Members are vehicles that can be assigned at all: not decommissioned, not revoked, without a clone alarm (H19), and not
 * excluded, unless `includesExcluded` says that the caller shows or judges these by himself.
 */
export function targetQuery(
  target: Target,
  time: ViewTime,
  options: { readonly includesExcluded: boolean } = { includesExcluded: false },
): TargetQuery {
  if (target.type === "vehicleList") {
    const named = sql<boolean>`v.id in (${vehicleList(target.vehicleIds)})`;
    return { ok: true, members: membersSql(named, time, options.includesExcluded) };
  }
  const parsed = parseSelector(target.selector);
  if (!parsed.ok) return parsed;
  return {
    ok: true,
    members: membersSql(selectorSql(parsed.selector, time.offlineBefore), time, options.includesExcluded),
  };
}

/** Ids of a list that are not in the inventory or are decommissioned, in order, at most `limit`. */
export async function unknownVehicles(
  db: Db,
  vehicleIds: readonly string[],
  limit: number,
): Promise<readonly string[]> {
  const { rows } = await sql<{ vehicle_id: string }>`
    select named.vehicle_id from (${vehicleList(vehicleIds)}) as named
    where not exists (select 1 from vehicles v where v.id = named.vehicle_id and v.decommissioned_at is null)
    order by named.vehicle_id limit ${limit}`.execute(db);
  return rows.map(({ vehicle_id }) => vehicle_id);
}

/** Kept out of rollouts and fleet selectors by an operator, until the exclusion expires. */
export function excludedSql(at: string): RawBuilder<boolean> {
  return sql<boolean>`(v.excluded_at is not null and (v.excluded_until is null or v.excluded_until > ${at}::timestamptz))`;
}

function membersSql(
  condition: RawBuilder<boolean>,
  time: ViewTime,
  includesExcluded: boolean,
): RawBuilder<{ vehicle_id: string }> {
  return sql`select v.id as vehicle_id from vehicles v
    where ${condition}
      and v.decommissioned_at is null and v.revoked_at is null and v.clone_alarm_at is null
      and (${includesExcluded} or not ${excludedSql(time.at)})`;
}

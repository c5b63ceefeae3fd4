import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import { REASONS } from "@muto/spec";
import type { ConvergenceStatus, DriftKind, ReasonCode } from "@muto/spec";
import type { Db } from "./database.ts";
import { onlineSql, silentSql } from "./vehicle-events.ts";
import type { ViewTime } from "./vehicle-events.ts";

export interface FleetCounts {
  readonly byConvergence: readonly {
    readonly status: ConvergenceStatus;
    readonly online: number;
    readonly offline: number;
  }[];
  /** Most frequent first. */
  readonly reasons: readonly { readonly code: ReasonCode; readonly vehicles: number }[];
  /** Vehicles whose stack does not keep every expectation. */
  readonly drifting: number;
  /** Most frequent first; a vehicle counts once for each kind. */
  readonly drift: readonly { readonly drift: DriftKind; readonly vehicles: number }[];
}

/** Counts every vehicle in service once; `condition` narrows the fleet. */
export async function countFleet(
  db: Db,
  condition: RawBuilder<boolean> | undefined,
  time: ViewTime,
): Promise<FleetCounts> {
  const online = onlineSql(time.offlineBefore);
  const where = sql`v.decommissioned_at is null and ${condition ?? sql<boolean>`true`}`;
  const byConvergence = await sql<{ status: ConvergenceStatus; online: number; offline: number }>`
    select v.status, count(*) filter (where ${online}) as online, count(*) filter (where not ${online}) as offline
    from vehicles v where ${where} group by v.status`.execute(db);
  const reasons = await sql<{ code: ReasonCode; vehicles: number }>`
    select reason.code, count(*) as vehicles from vehicles v
    cross join lateral unnest(v.reason_codes) as reason (code)
    where ${where} group by reason.code`.execute(db);
  const silent = await sql<{ vehicles: number }>`
    select count(*) as vehicles from vehicles v where ${where} and ${silentSql(time.offlineBefore)}`.execute(db);
  const timeouts = silent.rows.filter(({ vehicles }) => vehicles > 0);
  const all = [...reasons.rows, ...timeouts.map((row) => ({ ...row, code: REASONS.HEARTBEAT_TIMEOUT.code }))];
  const drifting = sql`${where} and v.drift <> '[]'::jsonb`;
  const drift = await sql<{ drift: DriftKind; vehicles: number }>`
    select each.kind as drift, count(distinct v.id) as vehicles from vehicles v
    cross join lateral (select one ->> 'drift' as kind from jsonb_array_elements(v.drift) as one) as each
    where ${drifting} group by each.kind order by 2 desc, 1`.execute(db);
  const drifted = await sql<{ vehicles: number }>`
    select count(*) as vehicles from vehicles v where ${drifting}`.execute(db);
  return {
    drifting: drifted.rows[0]?.vehicles ?? 0,
    drift: drift.rows,
    byConvergence: byConvergence.rows,
    reasons: all.toSorted((a, b) => b.vehicles - a.vehicles || (a.code < b.code ? -1 : 1)),
  };
}

/** When any vehicle in service was heard last; null when none ever was. */
export async function lastSignOfLife(db: Db): Promise<string | null> {
  const { rows } = await sql<{ at: string | null }>`
    select max(last_seen_at) as at from vehicles where decommissioned_at is null`.execute(db);
  return rows[0]?.at ?? null;
}

import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import { REASONS } from "@muto/spec";
import type { MemberClass, ReasonCode } from "@muto/spec";
import { excludedSql } from "../inventory/target.ts";
import type { ReportStatus, TerminalStatus } from "../rollout/classify.ts";
import type { Cohort, Holding, ReturnFacts } from "../rollout/facts.ts";
import type { Cast } from "../rollout/gate.ts";
import type { Db } from "./database.ts";
import type { Moment } from "./rollout-moment.ts";
import { milliseconds } from "./rollout-moment.ts";
import { onlineSql } from "./vehicle-events.ts";

/*
 * One rollout's members as decisions see them. A report counts when it was received, is signed (H18), and names the
 * sequence and the revision of an assignment of this rollout; both, because a restored database may have issued the same
 * sequence once before for something else (H16). Reports of one vehicle are in the order of its installations, then of
 * its own numbers: the order of arrival means nothing.
 */

/** Phases in which a vehicle has begun to switch; such a change is carried to its end. */
const BEGUN_PHASES = ["switch", "probe", "probation", "commit", "rollback"] as const;

/**
 * What a report says of the release. A vehicle that rejects an assignment as old or expired has said nothing of it: anybody
 * on the network can replay an old assignment, and must not fail a rollout by that.
 */
function answerSql(report: string): RawBuilder<string> {
  const codes = sql.ref(`${report}.reason_codes`);
  const status = sql.ref(`${report}.status`);
  return sql<string>`case when ${status} = 'failed' and ${codes} = array[${REASONS.DESIRED_STATE_REJECTED.code}]::text[]
    then 'pending' else ${status} end`;
}

/** The members in their stages with what is known of each, as the rows of a common table expression named `members`. */
export function membersSql(rolloutId: string, moment: Moment): RawBuilder<unknown> {
  return sql`
    forward as (
      select vehicle_id, sequence, revision from assignments
      where rollout_id = ${rolloutId} and stage in ('canary', 'wave')
    ), numbered as (
      select r.id, r.vehicle_id, ${answerSql("r")} as status, r.reason_codes, r.received_at,
        row_number() over (partition by r.vehicle_id order by i.first_received_at, r.install_id, r.seq) as turn
      from forward f
      join reconcile_reports r on r.vehicle_id = f.vehicle_id and r.sequence = f.sequence
        and r.revision = f.revision and r.signed
      left join vehicle_installs i on i.vehicle_id = r.vehicle_id and i.install_id = r.install_id
    ), said as (
      select *, max(turn) filter (where status <> 'blocked') over (partition by vehicle_id) as last_other
      from numbered
    ), summed as (
      select vehicle_id,
        (array_agg(status order by turn desc)
          filter (where status in ('converged', 'failed', 'rolled_back')))[1] as terminal,
        (array_agg(status order by turn desc))[1] as latest,
        (array_agg(id order by turn desc))[1] as latest_id,
        min(received_at) filter (where turn > coalesce(last_other, 0)) as blocked_since,
        bool_or(${REASONS.CRASH_LOOP_DETECTED.code}::text = any (reason_codes)) as crash_loop,
        bool_or(${REASONS.READINESS_TIMEOUT.code}::text = any (reason_codes)) as readiness_timeout,
        bool_or(${REASONS.VERIFY_SIGNATURE_FAILED.code}::text = any (reason_codes)) as signature_failure
      from said group by vehicle_id
    ), members as (
      select m.vehicle_id, m.stage as cast_name, m.region, m.model, m.rank,
        m.prior_name, m.prior_version, m.prior_digest,
        m.assigned_sequence is not null as assigned,
        s.terminal, s.latest, s.blocked_since, l.received_at as reported_at, l.reason_codes,
        coalesce(s.crash_loop, false) as crash_loop,
        coalesce(s.readiness_timeout, false) as readiness_timeout,
        coalesce(s.signature_failure, false) as signature_failure,
        v.last_seen_at, ${onlineSql(moment.offlineBefore)} as online,
        case when m.assigned_sequence is null then 'nothing'
          when newest.rollout_id is distinct from m.rollout_id then 'other'
          when newest.stage = 'rollback' then 'return'
          when newest.start = 'withheld' then 'withheld'
          else 'allowed' end as holds,
        coalesce(s.terminal is null and l.body ->> 'phase' = any (${[...BEGUN_PHASES]}::text[]), false) as begun,
        v.clone_alarm_at is not null or v.revoked_at is not null as barred
      from rollout_members m
      join vehicles v on v.id = m.vehicle_id
      left join summed s on s.vehicle_id = m.vehicle_id
      left join reconcile_reports l on l.id = s.latest_id
      left join assignments newest on newest.vehicle_id = v.id and newest.sequence = v.desired_sequence
      where m.rollout_id = ${rolloutId} and m.stage is not null
        and (s.terminal is not null or v.decommissioned_at is null)
        -- Who is excluded, or has lost its key, before it was assigned is left out, and is back when that ends.
        and (m.assigned_sequence is not null or not (v.revoked_at is not null or ${excludedSql(moment.at)}))
    )`;
}

/** The class of a row of `members`; what `classify` says of the same facts. */
export const CLASS_SQL: RawBuilder<MemberClass> = sql`
  case when terminal = 'rolled_back' then 'rolledBack'
    when terminal is not null then terminal
    when not assigned then 'waiting'
    when not online then 'offline'
    when latest in ('blocked', 'applying') then latest
    else 'pending' end`;

interface CohortRow {
  readonly cast_name: Cast;
  readonly assigned: boolean;
  readonly terminal: TerminalStatus | null;
  readonly latest: ReportStatus | null;
  readonly online: boolean;
  readonly holds: Holding;
  readonly begun: boolean;
  readonly barred: boolean;
  readonly members: number;
  readonly blocked_since: string | null;
  readonly last_seen_at: string | null;
  readonly crash_loops: number;
  readonly readiness_timeouts: number;
  readonly signature_failures: number;
}

/** All members, counted in one statement; a handful of rows however large the fleet. */
export async function readCohorts(db: Db, rolloutId: string, moment: Moment): Promise<readonly Cohort[]> {
  const { rows } = await sql<CohortRow>`
    with ${membersSql(rolloutId, moment)}
    select cast_name, assigned, terminal, latest, online, holds, begun, barred, count(*) as members,
      min(blocked_since) as blocked_since, min(last_seen_at) as last_seen_at,
      count(*) filter (where crash_loop) as crash_loops,
      count(*) filter (where readiness_timeout) as readiness_timeouts,
      count(*) filter (where signature_failure) as signature_failures
    from members
    group by cast_name, assigned, terminal, latest, online, holds, begun, barred`.execute(db);
  return rows.map((row) => ({
    cast: row.cast_name,
    assigned: row.assigned,
    terminal: row.terminal,
    latest: row.latest,
    online: row.online,
    holds: row.holds,
    begun: row.begun,
    barred: row.barred,
    members: row.members,
    reasons: {
      CRASH_LOOP_DETECTED: row.crash_loops,
      READINESS_TIMEOUT: row.readiness_timeouts,
      VERIFY_SIGNATURE_FAILED: row.signature_failures,
    },
    blockedSinceMs: milliseconds(row.blocked_since),
    lastSeenMs: milliseconds(row.last_seen_at),
  }));
}

/** Members of a stage that may be given the release: those out of reach, and the first `onlineMax` of those within. */
export async function membersToAssign(
  db: Db,
  rolloutId: string,
  choice: { readonly cast: Cast; readonly onlineMax: number; readonly limit: number },
  moment: Moment,
): Promise<readonly { readonly vehicleId: string; readonly holds: Holding }[]> {
  const { rows } = await sql<{ vehicle_id: string; holds: Holding }>`
    with ${membersSql(rolloutId, moment)}, placed as (
      select vehicle_id, holds, online, row_number() over (partition by online order by rank, vehicle_id) as place
      from members
      where cast_name = ${choice.cast} and terminal is null and not barred and holds in ('nothing', 'withheld')
    )
    select vehicle_id, holds from placed where not online or place <= ${choice.onlineMax}
    order by online desc, place limit ${choice.limit}`.execute(db);
  return rows.map((row) => ({ vehicleId: row.vehicle_id, holds: row.holds }));
}

/** Members that may start the release at any moment and have not begun to (H10). */
export async function membersToWithhold(
  db: Db,
  rolloutId: string,
  moment: Moment,
): Promise<ReadonlyMap<Cast, readonly string[]>> {
  const { rows } = await sql<{ vehicle_id: string; cast_name: Cast }>`
    with ${membersSql(rolloutId, moment)}
    select vehicle_id, cast_name from members
    where holds = 'allowed' and terminal is null and not begun and not barred order by vehicle_id`.execute(db);
  const byCast = Map.groupBy(rows, (row) => row.cast_name);
  return new Map([...byCast].map(([cast, each]) => [cast, each.map((row) => row.vehicle_id)]));
}

export interface NamedMember {
  readonly vehicleId: string;
  readonly region: string;
  readonly model: string;
  readonly class: MemberClass;
  readonly reasonCodes: readonly ReasonCode[];
}

/** Members of a stage that satisfy a condition on the rows of `members`, by id. */
export async function membersWhere(
  db: Db,
  rolloutId: string,
  choice: { readonly cast: Cast; readonly condition: RawBuilder<boolean>; readonly limit: number | null },
  moment: Moment,
): Promise<readonly NamedMember[]> {
  const { rows } = await sql<{
    vehicle_id: string;
    region: string;
    model: string;
    class: MemberClass;
    reason_codes: readonly ReasonCode[] | null;
  }>`
    with ${membersSql(rolloutId, moment)}
    select vehicle_id, region, model, ${CLASS_SQL} as class, reason_codes from members
    where cast_name = ${choice.cast} and ${choice.condition}
    order by vehicle_id limit ${choice.limit}`.execute(db);
  return rows.map((row) => ({
    vehicleId: row.vehicle_id,
    region: row.region,
    model: row.model,
    class: row.class,
    reasonCodes: row.reason_codes ?? [],
  }));
}

interface ReturnRow {
  readonly converged: number;
  readonly failed: number;
  readonly open: number;
  readonly offline: number;
  readonly without: number;
  readonly last_seen_at: string | null;
}

/**
 * How far the way back has come, by reports about this rollout's rollback assignments. Members to whom somebody has assigned
 * something newer are no longer its business (H13).
 */
export async function readReturns(db: Db, rolloutId: string, moment: Moment): Promise<ReturnFacts> {
  const { rows } = await sql<ReturnRow>`
    with answers as (
      select distinct on (r.vehicle_id) r.vehicle_id, r.status
      from assignments a
      join reconcile_reports r on r.vehicle_id = a.vehicle_id and r.sequence = a.sequence
        and r.revision = a.revision and r.signed
      left join vehicle_installs i on i.vehicle_id = r.vehicle_id and i.install_id = r.install_id
      where a.rollout_id = ${rolloutId} and a.stage = 'rollback'
        and ${answerSql("r")} in ('converged', 'failed', 'rolled_back')
      order by r.vehicle_id, i.first_received_at desc nulls last, r.install_id desc, r.seq desc
    ), returning_members as (
      select m.kept_because, m.rollback_sequence is not null and newest.rollout_id = m.rollout_id
          and newest.stage = 'rollback' as on_the_way,
        answers.status, v.last_seen_at, ${onlineSql(moment.offlineBefore)} as online
      from rollout_members m
      join vehicles v on v.id = m.vehicle_id and v.decommissioned_at is null
      left join assignments newest on newest.vehicle_id = v.id and newest.sequence = v.desired_sequence
      left join answers on answers.vehicle_id = m.vehicle_id
      where m.rollout_id = ${rolloutId} and (m.rollback_sequence is not null or m.kept_because is not null)
    )
    select
      count(*) filter (where on_the_way and status = 'converged') as converged,
      count(*) filter (where on_the_way and status in ('failed', 'rolled_back')) as failed,
      count(*) filter (where on_the_way and status is null and online) as open,
      count(*) filter (where on_the_way and status is null and not online) as offline,
      count(*) filter (where kept_because is not null) as without,
      min(last_seen_at) filter (where on_the_way and status is null and online) as last_seen_at
    from returning_members`.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate gave no row");
  const { converged, failed, open, offline, without } = row;
  return { converged, failed, open, offline, without, lastSeenMs: milliseconds(row.last_seen_at) };
}

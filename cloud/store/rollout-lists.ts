import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import type {
  ListRolloutsQuery,
  ListRolloutVehiclesQuery,
  MemberClass,
  ReasonCode,
  RolloutMember,
  RolloutSummary,
  VehicleStatus,
} from "@muto/spec";
import type { Db } from "./database.ts";
import { CLASS_SQL, membersSql } from "./rollout-members.ts";
import type { Moment } from "./rollout-moment.ts";
import { summaryOf } from "./rollouts.ts";
import { stackRef } from "./stack-ref.ts";
import { statusSql } from "./vehicle-events.ts";

interface Page {
  readonly offset: number;
  readonly limit: number;
}

/** One page of rollouts, with their members as they were counted last. */
export async function listRolloutSummaries(
  db: Db,
  query: Pick<ListRolloutsQuery, "status" | "stack" | "sort">,
  page: Page,
): Promise<{ readonly rollouts: readonly RolloutSummary[]; readonly total: number }> {
  const matching = db
    .selectFrom("rollouts")
    .where((where) =>
      where.and([
        ...(query.status === undefined ? [] : [where("status", "=", query.status)]),
        ...(query.stack === undefined ? [] : [where("stack_name", "=", query.stack)]),
      ]),
    );
  const { total } = await matching
    .select((select) => select.fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const direction = query.sort.startsWith("-") ? "desc" : "asc";
  const rows = await matching
    .selectAll()
    .orderBy(query.sort.endsWith("status") ? "status" : "created_at", direction)
    .orderBy("id", direction)
    .offset(page.offset)
    .limit(page.limit)
    .execute();
  return { rollouts: rows.map(summaryOf), total };
}

interface MemberRow {
  readonly vehicle_id: string;
  readonly region: string;
  readonly model: string;
  readonly stage: RolloutMember["stage"];
  readonly class: MemberClass;
  readonly status: VehicleStatus;
  readonly reason_codes: readonly ReasonCode[] | null;
  readonly prior_name: string | null;
  readonly prior_version: string | null;
  readonly prior_digest: string | null;
  readonly revision: string | null;
  readonly sequence: number | null;
  readonly reported_at: string | null;
  readonly last_seen_at: string | null;
  readonly total: number;
}

/** One page of members, those outside the wave's percentage among them; every filter must hold. */
export async function listMembers(
  db: Db,
  rolloutId: string,
  query: Pick<ListRolloutVehiclesQuery, "stage" | "class" | "reasonCode" | "sort">,
  page: Page,
  moment: Moment,
): Promise<{ readonly members: readonly RolloutMember[]; readonly total: number }> {
  const conditions = [
    sql<boolean>`true`,
    ...(query.stage === undefined ? [] : [sql<boolean>`listed.stage = ${query.stage}`]),
    ...(query.class === undefined ? [] : [sql<boolean>`listed.class = ${query.class}`]),
    ...(query.reasonCode === undefined ? [] : [sql<boolean>`${query.reasonCode} = any (listed.reason_codes)`]),
  ];
  const where = sql.join(conditions, sql` and `);
  const listed = sql`
    ${membersSql(rolloutId, moment)}, listed as (
      select vehicle_id, region, model, cast_name as stage, ${CLASS_SQL} as class, reason_codes,
        prior_name, prior_version, prior_digest, reported_at
      from members
      union all
      select vehicle_id, region, model, null, 'waiting', null, prior_name, prior_version, prior_digest, null
      from rollout_members where rollout_id = ${rolloutId} and stage is null
    )`;
  const counted = await sql<{ total: number }>`
    with ${listed} select count(*) as total from listed where ${where}`.execute(db);
  const { rows } = await sql<MemberRow>`
    with ${listed}
    select listed.*, ${statusSql(moment.offlineBefore)} as status, v.last_seen_at, own.revision, own.sequence
    from listed
    join vehicles v on v.id = listed.vehicle_id
    left join lateral (
      select a.revision, a.sequence from assignments a
      where a.vehicle_id = v.id and a.rollout_id = ${rolloutId} order by a.sequence desc limit 1
    ) own on true
    where ${where}
    order by ${orderSql(query.sort)}, listed.vehicle_id
    offset ${page.offset} limit ${page.limit}`.execute(db);
  return { members: rows.map(memberOf), total: counted.rows[0]?.total ?? 0 };
}

function orderSql(sort: ListRolloutVehiclesQuery["sort"]): RawBuilder<unknown> {
  switch (sort) {
    case "vehicleId":
      return sql`listed.vehicle_id`;
    case "-vehicleId":
      return sql`listed.vehicle_id desc`;
    case "class":
      return sql`listed.class`;
    case "-class":
      return sql`listed.class desc`;
    case "reportedAt":
      return sql`listed.reported_at nulls last`;
    case "-reportedAt":
      return sql`listed.reported_at desc nulls last`;
  }
}

function memberOf(row: MemberRow): RolloutMember {
  return {
    vehicleId: row.vehicle_id,
    region: row.region,
    model: row.model,
    stage: row.stage,
    class: row.class,
    status: row.status,
    reasonCodes: row.reason_codes ?? [],
    returnsTo: stackRef(row.prior_name, row.prior_version, row.prior_digest),
    desiredStateRevision: row.revision,
    sequence: row.sequence,
    reportedAt: row.reported_at,
    lastSeenAt: row.last_seen_at,
  };
}

import { sql } from "kysely";
import { timestamp } from "@muto/kit/clock";
import type { MayStillStart, MemberCounts, PlannedVehicles, Rollout, RolloutGroup, RolloutStage } from "@muto/spec";
import { progressOf } from "../rollout/facts.ts";
import { decide } from "../rollout/machine.ts";
import { dashboardOf, outlookOf } from "../rollout/outlook.ts";
import type { Db } from "./database.ts";
import type { Moment } from "./rollout-moment.ts";
import { countsOf, loadRollout, memberCounts, summaryOf } from "./rollouts.ts";
import type { LoadedRollout, RolloutRow } from "./rollouts.ts";

const GROUPS_MAX = 1000;
const GROUP_CANARIES_MAX = 100;
const NAMED_VEHICLES_MAX = 1000;

/** The whole rollout as people see it, counted at this moment. */
export async function viewRollout(db: Db, row: RolloutRow, moment: Moment): Promise<Rollout> {
  const loaded = await loadRollout(db, row, moment, { holdRelease: false });
  const { stages, facts } = loaded;
  const decision = decide(facts);
  const outlook = outlookOf(facts, decision);
  return {
    ...summaryOf(row),
    counts: countsOf(facts),
    target: row.target,
    policy: row.policy,
    retry: row.retry,
    settings: row.settings,
    supersedes: row.supersedes,
    supersededBy: row.superseded_by,
    correlationId: row.correlation_id,
    groups: await readGroups(db, row.id),
    stages: stages.map((stage) => ({
      stage: stage.stage,
      desiredStateRevision: stage.revision,
      startedAt: stage.started_at,
      deadlineAt: stage.deadline_at,
      endedAt: stage.ended_at,
      counts: stageCounts(loaded, stage.stage),
      verdict: stage.verdict,
    })),
    verdict: stages.find((stage) => stage.stage === row.stage)?.verdict ?? null,
    pause: row.pause,
    next: { step: outlook.step, at: outlook.atMs === null ? null : timestamp(outlook.atMs) },
    mayStillStart: await readMayStillStart(db, row.id, moment),
    notReturned: await readNotReturned(db, row.id),
    ...dashboardOf(facts, decision),
  };
}

/** Soak judges the canaries, watch judges everybody. */
function stageCounts({ facts }: LoadedRollout, stage: RolloutStage): MemberCounts {
  switch (stage) {
    case "canary":
    case "soak":
      return memberCounts(progressOf(facts, "canary").counts);
    case "wave":
      return memberCounts(progressOf(facts, "wave").counts);
    case "watch":
      return countsOf(facts);
  }
}

async function readGroups(db: Db, rolloutId: string): Promise<readonly RolloutGroup[]> {
  const { rows } = await sql<{ region: string; model: string; members: number; canaries: string[] | null }>`
    select region, model, count(*) as members,
      (array_agg(vehicle_id order by vehicle_id) filter (where stage = 'canary'))[1:${sql.lit(GROUP_CANARIES_MAX)}] as canaries
    from rollout_members where rollout_id = ${rolloutId} and stage is not null
    group by region, model order by region, model limit ${GROUPS_MAX}`.execute(db);
  return rows.map((row) => ({ ...row, canaries: row.canaries ?? [] }));
}

/**
 * Members that were told to stop or to go back, have not confirmed it, were in contact after they had been allowed to
 * start, and may start until the time that they were given (H10).
 */
async function readMayStillStart(db: Db, rolloutId: string, moment: Moment): Promise<MayStillStart> {
  const { rows } = await sql<{ vehicles: number; until: string | null }>`
    select count(distinct v.id) as vehicles, max(allowed.start_before) as until
    from rollout_members m
    join vehicles v on v.id = m.vehicle_id
    join assignments newest on newest.vehicle_id = v.id and newest.sequence = v.desired_sequence
      and newest.rollout_id = m.rollout_id and (newest.start = 'withheld' or newest.stage = 'rollback')
      and v.sequence_floor < newest.sequence
    join assignments allowed on allowed.vehicle_id = v.id and allowed.rollout_id = m.rollout_id
      and allowed.stage in ('canary', 'wave') and allowed.start = 'allowed' and allowed.sequence < newest.sequence
      and allowed.start_before > ${moment.at}::timestamptz and v.last_seen_at >= allowed.issued_at
    where m.rollout_id = ${rolloutId} and not exists (
      select 1 from reconcile_reports r
      where r.vehicle_id = v.id and r.signed and r.sequence = allowed.sequence and r.revision = allowed.revision
        and r.status in ('converged', 'failed', 'rolled_back'))`.execute(db);
  return rows[0] ?? { vehicles: 0, until: null };
}

async function readNotReturned(db: Db, rolloutId: string): Promise<PlannedVehicles> {
  const { rows } = await sql<{ count: number; vehicle_ids: string[] | null }>`
    select count(*) as count,
      (array_agg(vehicle_id order by vehicle_id))[1:${sql.lit(NAMED_VEHICLES_MAX)}] as vehicle_ids
    from rollout_members where rollout_id = ${rolloutId} and kept_because is not null`.execute(db);
  const [row] = rows;
  return { count: row?.count ?? 0, vehicleIds: row?.vehicle_ids ?? [] };
}

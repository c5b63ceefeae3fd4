import { sql } from "kysely";
import type { Actor, Policy, ReasonCode } from "@muto/spec";
import { timestamp } from "@muto/kit/clock";
import type { Cast } from "../rollout/gate.ts";
import { SYSTEM } from "./actor.ts";
import { issueAssignments, lockVehicles, vehicleList } from "./assignments.ts";
import { insertDesiredState } from "./desired-states.ts";
import { withholdMembers } from "./rollout-assign.ts";
import type { Turn } from "./rollout-turn.ts";
import { endStage, updateRollout } from "./rollouts.ts";
import type { LoadedRollout } from "./rollouts.ts";

/**
 * A rollback does not wait for a window or a charge; standing still and manual mode stay demanded, and the vehicle's own
 * floor stays above all (mission: vehicle-side gates are authoritative).
 */
const RETURN_POLICY: Policy = { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 0 };

/** Codes that put a release under quarantine on a vehicle: it would refuse to run it again (H12). */
const QUARANTINING = [
  "APPLY_FAILED",
  "READINESS_TIMEOUT",
  "CRASH_LOOP_DETECTED",
  "ROLLBACK_APPLIED",
  "ROLLBACK_FAILED",
] as const satisfies readonly ReasonCode[];

/** Whether the last word of the vehicle `given` about the release `given.digest` was that it failed there. */
const QUARANTINED_SQL = sql<boolean>`coalesce((
    select said.status in ('failed', 'rolled_back') and said.reason_codes && ${[...QUARANTINING]}::text[]
    from assignments a
    join desired_states d on d.revision = a.revision and d.manifest_digest = given.digest
    join reconcile_reports said on said.vehicle_id = a.vehicle_id and said.sequence = a.sequence
      and said.revision = a.revision and said.signed and said.status in ('converged', 'failed', 'rolled_back')
    left join vehicle_installs i on i.vehicle_id = said.vehicle_id and i.install_id = said.install_id
    where a.vehicle_id = given.vehicle_id
    order by i.first_received_at desc nulls last, said.install_id desc, said.seq desc limit 1), false)`;

/** How many vehicle ids the desired state of a return may name. */
const TARGET_IDS_MAX = 10_000;

/**
 * Sends the members of the named stages that were given the release back to what was committed there before: not to what
 * is quarantined there (H12), not to what was withdrawn, and only where this rollout's assignment is still the newest
 * (H13). Members that already run it again are re-assigned without a restart. Members without such a release keep what
 * they have, are listed with the reason, and are told not to start what they have not started. Nobody else is touched.
 */
export async function sendBack(
  turn: Turn,
  loaded: LoadedRollout,
  casts: readonly Cast[],
  by: Actor = SYSTEM,
): Promise<void> {
  const { row } = loaded;
  const all = [...new Set([...(row.returning_stages ?? []), ...casts])].toSorted();
  const deadlineAt = timestamp(turn.moment.nowMs + row.settings.stageDeadlineSec * 1000);
  const targets = await findTargets(turn, row.id, row.manifest_digest, casts);
  await lockVehicles(
    turn.db,
    targets.flatMap(({ vehicleIds }) => vehicleIds),
  );
  for (const target of targets) {
    const keptBecause = target.keptBecause ?? (await lateProblem(turn, target));
    if (keptBecause === null) await assignReturn(turn, loaded, target, by);
    else await keep(turn, row.id, keptBecause, target.vehicleIds);
  }
  await withholdMembers(turn, loaded);
  // From here on the rollout claims only those on their way back; the others are free for a better release.
  await sql`
    update rollout_members set open = (rollback_sequence is not null)
    where rollout_id = ${row.id} and open <> (rollback_sequence is not null)`.execute(turn.db);
  await endStage(turn, row.id);
  await updateRollout(turn, row.id, {
    status: "rolling_back",
    outcome: null,
    pause: null,
    accepted: false,
    ended_at: null,
    returning_stages: all,
    return_deadline_at: deadlineAt,
  });
}

interface ReturnTarget {
  readonly name: string | null;
  readonly version: string | null;
  readonly digest: string | null;
  readonly keptBecause: "nothing-committed" | "quarantined" | "withdrawn" | null;
  readonly vehicleIds: readonly string[];
}

/** Where each member may return to, grouped, in one statement. */
async function findTargets(
  turn: Turn,
  rolloutId: string,
  digest: string,
  casts: readonly Cast[],
): Promise<readonly ReturnTarget[]> {
  const { rows } = await sql<{
    name: string | null;
    version: string | null;
    digest: string | null;
    kept_because: ReturnTarget["keptBecause"];
    vehicle_ids: string[];
  }>`
    with given as (
      select m.vehicle_id,
        -- A vehicle that has left the release by itself says best what it returned to.
        case when v.committed_digest is not null and v.committed_digest <> ${digest}
          then v.committed_digest else nullif(m.prior_digest, ${digest}) end as digest
      from rollout_members m
      join vehicles v on v.id = m.vehicle_id and v.decommissioned_at is null
      join assignments newest on newest.vehicle_id = v.id and newest.sequence = v.desired_sequence
      where m.rollout_id = ${rolloutId} and m.stage = any (${[...casts]}::text[])
        and m.assigned_sequence is not null and m.rollback_sequence is null
        and newest.rollout_id = m.rollout_id and newest.stage in ('canary', 'wave')
    ), judged as (
      select given.vehicle_id, r.name, r.version, given.digest,
        case when r.name is null then 'nothing-committed'
          when r.withdrawn_at is not null then 'withdrawn'
          when ${QUARANTINED_SQL} then 'quarantined' end as kept_because
      from given left join releases r on r.manifest_digest = given.digest
    )
    select name, version, digest, kept_because, array_agg(vehicle_id order by vehicle_id) as vehicle_ids
    from judged group by name, version, digest, kept_because order by name, version, kept_because`.execute(turn.db);
  return rows.map((row) => ({
    name: row.name,
    version: row.version,
    digest: row.digest,
    keptBecause: row.kept_because,
    vehicleIds: row.vehicle_ids,
  }));
}

async function assignReturn(turn: Turn, loaded: LoadedRollout, target: ReturnTarget, by: Actor): Promise<void> {
  const { row } = loaded;
  const { name, version, digest, vehicleIds } = target;
  if (name === null || version === null || digest === null) throw new Error("a return needs a release");
  const revision = turn.newRevision();
  const { at, offlineBefore } = turn.moment;
  await insertDesiredState(turn.db, {
    revision,
    target: { type: "vehicleList", vehicleIds: vehicleIds.slice(0, TARGET_IDS_MAX) },
    stack: { name, version, manifestDigest: digest },
    policy: RETURN_POLICY,
    start: "allowed",
    retry: false,
    startBeforeSec: row.settings.startBeforeSec,
    rollout: { strategy: "rollback", rolloutId: row.id },
    reach: { vehicles: vehicleIds.length, withoutCanary: 0 },
    correlationId: row.correlation_id,
    createdAt: at,
    createdBy: by,
  });
  await issueAssignments(
    turn.db,
    {
      revision,
      rolloutId: row.id,
      stage: "rollback",
      start: "allowed",
      cause: "rollback",
      correlationId: row.correlation_id,
      issuedAt: at,
      offlineBefore,
    },
    vehicleList(vehicleIds),
  );
  await sql`
    update rollout_members m set rollback_sequence = v.desired_sequence, kept_because = null
    from vehicles v
    where m.rollout_id = ${row.id} and m.vehicle_id = any (${[...vehicleIds]}::text[])
      and v.id = m.vehicle_id and v.desired_revision = ${revision}`.execute(turn.db);
}

/** Holds the release until the commit, so that it cannot be withdrawn and assigned at the same time. */
async function lateProblem(turn: Turn, { name, version }: ReturnTarget): Promise<"withdrawn" | null> {
  const release = await turn.db
    .selectFrom("releases")
    .select("withdrawn_at")
    .where("name", "=", name)
    .where("version", "=", version)
    .forShare()
    .executeTakeFirst();
  return release === undefined || release.withdrawn_at !== null ? "withdrawn" : null;
}

async function keep(
  turn: Turn,
  rolloutId: string,
  keptBecause: NonNullable<ReturnTarget["keptBecause"]>,
  vehicleIds: readonly string[],
): Promise<void> {
  await sql`
    update rollout_members set kept_because = ${keptBecause}
    where rollout_id = ${rolloutId} and vehicle_id = any (${[...vehicleIds]}::text[])`.execute(turn.db);
}

import { sql } from "kysely";
import { timestamp } from "@muto/kit/clock";
import type { Actor, Policy, RolloutSettings, StackRef, Target } from "@muto/spec";
import type { Plan, PlannedMember } from "../rollout/plan.ts";
import { actorText } from "./actor.ts";
import { insertDesiredState } from "./desired-states.ts";
import type { Turn } from "./rollout-turn.ts";
import { note } from "./rollout-turn.ts";

/** A rollout about to begin; its plan was made in the same transaction. */
export interface NewRollout {
  readonly id: string;
  readonly target: Target;
  readonly stack: StackRef;
  readonly policy: Policy;
  readonly policyWeakened: boolean;
  readonly retry: boolean;
  readonly settings: RolloutSettings;
  readonly supersedes: string | null;
  readonly correlationId: string;
  readonly by: Actor;
  readonly comment: string | null;
  readonly plan: Plan;
}

/**
 * Stores the rollout, its canary stage, and every member with what is committed there now, which is what a rollback
 * returns to. Nobody is assigned yet; that is its first step. Throws the database's unique violation when another
 * unfinished rollout has claimed a member since the plan was made (see {@link isClaimConflict}).
 */
export async function insertRollout(turn: Turn, rollout: NewRollout): Promise<void> {
  const { id, stack, settings, plan } = rollout;
  const { at, nowMs } = turn.moment;
  const count = (stage: PlannedMember["stage"]) => plan.members.filter((member) => member.stage === stage).length;
  const planned = { canary: count("canary"), wave: count("wave") };
  const revision = turn.newRevision();
  await insertDesiredState(turn.db, {
    revision,
    target: rollout.target,
    stack,
    policy: rollout.policy,
    start: "allowed",
    retry: rollout.retry,
    startBeforeSec: settings.startBeforeSec,
    rollout: { strategy: "canary", rolloutId: id, waveId: "canary" },
    reach: { vehicles: planned.canary, withoutCanary: 0 },
    correlationId: rollout.correlationId,
    createdAt: at,
    createdBy: rollout.by,
  });
  await turn.db
    .insertInto("rollouts")
    .values({
      id,
      status: "active",
      stage: "canary",
      outcome: null,
      revision,
      stack_name: stack.name,
      stack_version: stack.version,
      manifest_digest: stack.manifestDigest,
      target: JSON.stringify(rollout.target),
      policy: JSON.stringify(rollout.policy),
      retry: rollout.retry,
      settings: JSON.stringify(settings),
      correlation_id: rollout.correlationId,
      created_at: at,
      created_by: actorText(rollout.by),
      updated_at: at,
      supersedes: rollout.supersedes,
      planned_canary: planned.canary,
      planned_wave: planned.wave,
      step_due_at: at,
    })
    .execute();
  await turn.db
    .insertInto("rollout_stages")
    .values({
      rollout_id: id,
      stage: "canary",
      revision,
      started_at: at,
      deadline_at: timestamp(nowMs + settings.stageDeadlineSec * 1000),
      ended_at: null,
      verdict: null,
    })
    .execute();
  await insertMembers(turn, id, plan.members);
  noteCreation(turn, rollout, planned);
}

async function insertMembers(turn: Turn, id: string, members: readonly PlannedMember[]): Promise<void> {
  const column = <T>(pick: (member: PlannedMember) => T): T[] => members.map(pick);
  await sql`
    insert into rollout_members
      (rollout_id, vehicle_id, region, model, stage, rank, prior_name, prior_version, prior_digest, open)
    select ${id}, p.vehicle_id, p.region, p.model, p.stage, p.rank,
      v.committed_name, v.committed_version, v.committed_digest, p.stage is not null
    from unnest(
      ${column((each) => each.vehicleId)}::text[], ${column((each) => each.region)}::text[],
      ${column((each) => each.model)}::text[], ${column((each) => each.stage)}::text[],
      ${column((each) => each.rank)}::integer[]
    ) as p (vehicle_id, region, model, stage, rank)
    join vehicles v on v.id = p.vehicle_id`.execute(turn.db);
}

function noteCreation(turn: Turn, rollout: NewRollout, planned: { canary: number; wave: number }): void {
  const { stack, plan } = rollout;
  const entry = {
    actor: rollout.by,
    subject: { type: "rollout", id: rollout.id },
    correlationId: rollout.correlationId,
    before: null,
    comment: rollout.comment,
  } as const;
  note(turn, {
    ...entry,
    action: "rollout.created",
    after: {
      stack: { ...stack },
      planned,
      incompatible: plan.incompatible.length,
      alreadyConverged: plan.alreadyConverged.length,
      supersedes: rollout.supersedes,
    },
  });
  if (rollout.policyWeakened) {
    note(turn, { ...entry, action: "rollout.policy-weakened", after: { policy: { ...rollout.policy } } });
  }
  if (rollout.retry) note(turn, { ...entry, action: "rollout.quarantine-lifted", after: { stack: { ...stack } } });
}

/** Whether an error says that a vehicle is a member of another unfinished rollout (H27). */
export function isClaimConflict(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    error.code === "23505" &&
    "constraint" in error &&
    error.constraint === "rollout_members_open"
  );
}

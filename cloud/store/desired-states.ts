import type { Selectable } from "kysely";
import type { Actor, DesiredState, DesiredStateRollout, Policy, StackRef, StartRule, Target } from "@muto/spec";
import { actorText, readActor } from "./actor.ts";
import type { Db } from "./database.ts";
import type { DesiredStatesTable } from "./tables.ts";

/** A desired state about to be stored; it never changes afterwards, except that its reach becomes known. */
export interface NewDesiredState {
  readonly revision: string;
  readonly target: Target;
  readonly stack: StackRef;
  readonly policy: Policy;
  readonly start: StartRule;
  readonly retry: boolean;
  readonly startBeforeSec: number;
  readonly rollout: DesiredStateRollout;
  readonly reach: DesiredState["reach"];
  readonly correlationId: string;
  readonly createdAt: string;
  readonly createdBy: Actor;
}

export async function insertDesiredState(db: Db, state: NewDesiredState): Promise<void> {
  await db
    .insertInto("desired_states")
    .values({
      revision: state.revision,
      target: JSON.stringify(state.target),
      stack_name: state.stack.name,
      stack_version: state.stack.version,
      manifest_digest: state.stack.manifestDigest,
      policy: JSON.stringify(state.policy),
      start: state.start,
      retry: state.retry,
      start_before_sec: state.startBeforeSec,
      rollout_id: "rolloutId" in state.rollout ? state.rollout.rolloutId : null,
      rollout: JSON.stringify(state.rollout),
      reach_vehicles: state.reach.vehicles,
      reach_without_canary: state.reach.withoutCanary,
      correlation_id: state.correlationId,
      created_at: state.createdAt,
      created_by: actorText(state.createdBy),
    })
    .execute();
}

export async function readDesiredState(db: Db, revision: string): Promise<DesiredState | undefined> {
  const row = await db.selectFrom("desired_states").selectAll().where("revision", "=", revision).executeTakeFirst();
  return row === undefined ? undefined : desiredStateOf(row);
}

function desiredStateOf(row: Selectable<DesiredStatesTable>): DesiredState {
  return {
    desiredStateRevision: row.revision,
    target: row.target,
    stack: { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest },
    policy: row.policy,
    rollout: row.rollout,
    start: row.start,
    retry: row.retry,
    reach: { vehicles: row.reach_vehicles, withoutCanary: row.reach_without_canary },
    correlationId: row.correlation_id,
    createdAt: row.created_at,
    createdBy: readActor(row.created_by),
  };
}

import { ulid, uuid } from "@muto/kit/ids";
import type { RolloutPlan } from "@muto/spec";
import { planRollout } from "../rollout/plan.ts";
import type { Plan } from "../rollout/plan.ts";
import type { Db } from "../store/database.ts";
import { readCandidates } from "../store/rollout-candidates.ts";
import { commandRollout, settle } from "../store/rollout-commands.ts";
import { insertRollout, isClaimConflict } from "../store/rollout-create.ts";
import { closeTurn } from "../store/rollout-turn.ts";
import type { Turn } from "../store/rollout-turn.ts";
import { viewRollout } from "../store/rollout-view.ts";
import { findRollout, updateRollout } from "../store/rollouts.ts";
import type { ApiContext } from "./server/context.ts";
import { emptyTarget, memberConflict, readPolicy, readRelease, readTarget } from "./server/intent.ts";
import type { AssignableRelease } from "./server/intent.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";
import { restoreRefusal } from "./server/rollout-command.ts";
import { turnOf } from "./server/rollout-turn.ts";

const NAMED_VEHICLES_MAX = 1000;
const NAMED_GROUPS_MAX = 1000;
const REFUSED_VEHICLES_MAX = 100;

/**
 * Plans a rollout, and, unless it is a dry run, begins it: the target is resolved once, every member is recorded with what
 * is committed there, and the canaries get the release.
 */
export const createRollout: Handler<"createRollout"> = async (call, context) => {
  await context.heartbeats.flush();
  const attempt = async () => await context.database.db.transaction().execute((trx) => plan(trx, call, context));
  try {
    return await attempt();
  } catch (error) {
    // Another rollout has claimed a member at the same moment; planned again, this one names it.
    if (!isClaimConflict(error)) throw error;
    return await attempt();
  }
};

async function plan(trx: Db, call: Call<"createRollout">, context: ApiContext) {
  const { body } = call;
  const { dryRun } = call.query;
  const turn = turnOf(context, trx, call.at);
  const policy = readPolicy(body.policy, body.acknowledgeWeakenedPolicy);
  if ("refusal" in policy) return policy;
  const guard = dryRun ? undefined : await restoreRefusal(trx);
  if (guard !== undefined) return guard;
  const release = await readRelease(trx, body.stack);
  if ("refusal" in release) return release;
  const target = await readTarget(trx, body.target, turn.moment, { includesExcluded: true });
  if ("refusal" in target) return target;
  if (body.supersedes !== undefined && (await findRollout(trx, body.supersedes)) === undefined) {
    const problems = [{ path: "/supersedes", message: "there is no such rollout" }];
    return refuse("BODY_INVALID", `There is no rollout ${body.supersedes} to supersede.`, { problems });
  }
  const candidates = await readCandidates(trx, target.members, turn.moment);
  const planned = planRollout(
    {
      digest: release.stack.manifestDigest,
      compatibility: release.row.compatibility,
      diskMbMin: release.row.resource_profile.diskMbMin,
      policy: policy.policy,
      settings: body.settings,
      supersedes: body.supersedes ?? null,
      nowMs: turn.moment.nowMs,
    },
    candidates,
  );
  if (candidates.length === planned.excluded.length) return emptyTarget();
  if (dryRun) return { status: 200, data: planView(release, planned) } as const;
  if (planned.members.length + planned.alreadyConverged.length === 0) {
    return refuse("RELEASE_INCOMPATIBLE", "The release lists no vehicle of the target as compatible.", {
      vehicleIds: planned.incompatible.slice(0, REFUSED_VEHICLES_MAX).map(({ vehicleId }) => vehicleId),
    });
  }
  if (planned.conflicts.length > 0) return memberConflict(planned.conflicts);
  return await begin(turn, call, context, { planned, release, policy });
}

interface Ready {
  readonly planned: Plan;
  readonly release: AssignableRelease;
  readonly policy: Extract<ReturnType<typeof readPolicy>, { readonly ok: true }>;
}

async function begin(turn: Turn, call: Call<"createRollout">, context: ApiContext, ready: Ready) {
  const { body } = call;
  const { db } = turn;
  const id = `ro_${ulid(context.clock, context.random)}`;
  const by = { actor: actorOf(call.principal), comment: body.comment ?? null };
  // Nothing is refused from here on: the rollout that this one takes the place of ends with the same commit.
  if (body.supersedes !== undefined) await commandRollout(turn, body.supersedes, { kind: "supersede" }, by);
  await insertRollout(turn, {
    id,
    target: body.target,
    stack: ready.release.stack,
    policy: ready.policy.policy,
    policyWeakened: ready.policy.weakened,
    retry: body.retry,
    settings: body.settings,
    supersedes: body.supersedes ?? null,
    correlationId: body.correlationId ?? uuid(context.random),
    by: by.actor,
    comment: by.comment,
    plan: ready.planned,
  });
  if (body.supersedes !== undefined) await updateRollout(turn, body.supersedes, { superseded_by: id });
  await settle(turn, id);
  const row = await findRollout(db, id);
  if (row === undefined) throw new Error("a rollout that was just stored is not there");
  const data = await viewRollout(db, row, turn.moment);
  await closeTurn(turn);
  return await call.remember(db, { status: 201, data, headers: { Location: `/api/v1/rollouts/${id}` } });
}

function planView({ stack }: AssignableRelease, planned: Plan): RolloutPlan {
  const claimed = planned.members.filter(({ stage }) => stage !== null);
  const canaries = planned.members.filter(({ stage }) => stage === "canary");
  const named = (vehicleIds: readonly string[]) => ({
    count: vehicleIds.length,
    vehicleIds: vehicleIds.slice(0, NAMED_VEHICLES_MAX),
  });
  const listed = <Item>(vehicles: readonly Item[]) => ({
    count: vehicles.length,
    vehicles: vehicles.slice(0, NAMED_VEHICLES_MAX),
  });
  return {
    stack,
    members: claimed.length,
    groups: planned.groups.slice(0, NAMED_GROUPS_MAX),
    canaries: canaries.slice(0, NAMED_VEHICLES_MAX).map(({ vehicleId }) => vehicleId),
    incompatible: listed(planned.incompatible),
    alreadyConverged: named(planned.alreadyConverged),
    withoutReturn: named(planned.withoutReturn),
    refusing: listed(planned.refusing),
    conflicts: planned.conflicts.slice(0, NAMED_VEHICLES_MAX),
  };
}

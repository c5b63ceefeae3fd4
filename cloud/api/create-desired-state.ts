import { sql } from "kysely";
import { ulid, uuid } from "@muto/kit/ids";
import type { RolloutConflict } from "@muto/spec";
import { incompatibility } from "../rollout/plan.ts";
import { issueAssignments, lockVehicles, vehicleList } from "../store/assignments.ts";
import { appendAudit } from "../store/audit.ts";
import type { Db } from "../store/database.ts";
import { insertDesiredState, readDesiredState } from "../store/desired-states.ts";
import { readCandidates } from "../store/rollout-candidates.ts";
import type { ApiContext } from "./server/context.ts";
import { emptyTarget, memberConflict, readPolicy, readRelease, readTarget } from "./server/intent.ts";
import { refuse } from "./server/operation.ts";
import type { Call, Handler } from "./server/operation.ts";
import { actorOf } from "./server/principal.ts";
import { restoreRefusal } from "./server/rollout-command.ts";
import { momentOf } from "./server/rollout-turn.ts";

/**
 * Assigns a release to every vehicle of a target at once, without a canary before them; the answer says to how many. The
 * target is resolved now and never again (H28). Vehicles of unfinished rollouts refuse the whole request.
 */
export const createDesiredState: Handler<"createDesiredState"> = async (call, context) => {
  await context.heartbeats.flush();
  return await context.database.db.transaction().execute((trx) => create(trx, call, context));
};

async function create(trx: Db, call: Call<"createDesiredState">, context: ApiContext) {
  const { body } = call;
  const moment = momentOf(context, call.at);
  const policy = readPolicy(body.policy, body.acknowledgeWeakenedPolicy);
  if ("refusal" in policy) return policy;
  const guard = await restoreRefusal(trx);
  if (guard !== undefined) return guard;
  const release = await readRelease(trx, body.stack);
  if ("refusal" in release) return release;
  // Who is named by id is meant, excluded or not; a selector passes the excluded by.
  const includesExcluded = body.target.type === "vehicleList";
  const target = await readTarget(trx, body.target, moment, { includesExcluded });
  if ("refusal" in target) return target;
  const candidates = await readCandidates(trx, target.members, moment);
  if (candidates.length === 0) return emptyTarget();
  if (candidates.every((each) => incompatibility(release.row.compatibility, each) !== undefined)) {
    return refuse("RELEASE_INCOMPATIBLE", "The release lists no vehicle of the target as compatible.");
  }
  const vehicleIds = candidates.map(({ vehicleId }) => vehicleId);
  const conflicts = await claimed(trx, vehicleIds);
  if (conflicts.length > 0) return memberConflict(conflicts);

  const revision = `dsr_${ulid(context.clock, context.random)}`;
  const correlationId = body.correlationId ?? uuid(context.random);
  const by = actorOf(call.principal);
  await insertDesiredState(trx, {
    revision,
    target: body.target,
    stack: release.stack,
    policy: policy.policy,
    start: body.start,
    retry: body.retry,
    startBeforeSec: body.startBeforeSec,
    rollout: { strategy: "direct" },
    reach: { vehicles: 0, withoutCanary: 0 },
    correlationId,
    createdAt: call.at,
    createdBy: by,
  });
  const order = { revision, rolloutId: null, stage: null, start: body.start, cause: "direct", correlationId } as const;
  const times = { issuedAt: call.at, offlineBefore: moment.offlineBefore };
  const reached = await issueAssignments(trx, { ...order, ...times }, vehicleList(vehicleIds));
  await trx
    .updateTable("desired_states")
    .set({ reach_vehicles: reached, reach_without_canary: reached })
    .where("revision", "=", revision)
    .execute();
  const data = await readDesiredState(trx, revision);
  if (data === undefined) throw new Error("a desired state that was just stored is not there");
  await note(trx, call, { revision, correlationId, reached, stack: release.stack, weakened: policy.weakened });
  return await call.remember(trx, { status: 201, data, headers: { Location: `/api/v1/desired-states/${revision}` } });
}

/**
 * Members of unfinished rollouts among these vehicles. The vehicles are locked first: a rollout that claims one of them at
 * the same moment waits for our commit, or we for its, and then see it (H27).
 */
async function claimed(trx: Db, vehicleIds: readonly string[]): Promise<readonly RolloutConflict[]> {
  await lockVehicles(trx, vehicleIds);
  const { rows } = await sql<{ vehicle_id: string; rollout_id: string }>`
    select vehicle_id, rollout_id from rollout_members
    where open and vehicle_id in (${vehicleList(vehicleIds)}) order by vehicle_id`.execute(trx);
  return rows.map((row) => ({ vehicleId: row.vehicle_id, rolloutId: row.rollout_id }));
}

interface Made {
  readonly revision: string;
  readonly correlationId: string;
  readonly reached: number;
  readonly stack: { readonly name: string; readonly version: string; readonly manifestDigest: string };
  readonly weakened: boolean;
}

async function note(trx: Db, call: Call<"createDesiredState">, made: Made): Promise<void> {
  const { body } = call;
  const entry = {
    at: call.at,
    actor: actorOf(call.principal),
    subject: { type: "desired-state", id: made.revision },
    correlationId: made.correlationId,
    comment: body.comment ?? null,
  } as const;
  const stack = { ...made.stack };
  await appendAudit(trx, {
    ...entry,
    action: "desired-state.created",
    after: { stack, start: body.start, vehicles: made.reached, withoutCanary: made.reached },
  });
  if (made.weakened) {
    await appendAudit(trx, {
      ...entry,
      action: "desired-state.policy-weakened",
      after: { policy: { ...body.policy } },
    });
  }
  if (body.retry) await appendAudit(trx, { ...entry, action: "desired-state.quarantine-lifted", after: { stack } });
}

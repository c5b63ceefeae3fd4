import { sql } from "kysely";
import type { StartRule } from "@muto/spec";
import type { Cast } from "../rollout/gate.ts";
import { issueAssignments, lockVehicles, vehicleList } from "./assignments.ts";
import { membersToAssign, membersToWithhold } from "./rollout-members.ts";
import type { Turn } from "./rollout-turn.ts";
import type { LoadedRollout } from "./rollouts.ts";

/** How many members one transaction assigns at most; the next step goes on with the rest. */
const ASSIGN_VEHICLES_MAX = 20_000;

/**
 * Gives the release to members of a stage that nothing lets start yet: never assigned, or withheld since. Whoever was
 * given it, and has not been told to wait, is never assigned a second time.
 */
export async function assignCast(turn: Turn, loaded: LoadedRollout, cast: Cast, onlineMax: number): Promise<number> {
  const limit = ASSIGN_VEHICLES_MAX;
  const members = await membersToAssign(turn.db, loaded.row.id, { cast, onlineMax, limit }, turn.moment);
  await lockVehicles(
    turn.db,
    members.map(({ vehicleId }) => vehicleId),
  );
  const held = members.filter(({ holds }) => holds === "withheld").map(({ vehicleId }) => vehicleId);
  const fresh = members.filter(({ holds }) => holds === "nothing").map(({ vehicleId }) => vehicleId);
  const again = await issue(turn, loaded, { cast, start: "allowed", cause: "resume", vehicleIds: held });
  const first = await issue(turn, loaded, { cast, start: "allowed", cause: "rollout", vehicleIds: fresh });
  return again + first;
}

/**
 * Tells members that may start and have not begun to wait: what runs there goes on, staging may go on (H10). A canary whose
 * place another one took waits under the canaries' desired state while the wave, to which it belongs now, has none yet.
 * Returns how many were told.
 */
export async function withholdMembers(turn: Turn, loaded: LoadedRollout): Promise<number> {
  const casts = await membersToWithhold(turn.db, loaded.row.id, turn.moment);
  await lockVehicles(turn.db, [...casts.values()].flat());
  let told = 0;
  const hasBegun = (cast: Cast) => loaded.stages.some(({ stage }) => stage === cast);
  for (const [cast, vehicleIds] of casts) {
    const under = hasBegun(cast) ? cast : "canary";
    told += await issue(turn, loaded, { cast: under, start: "withheld", cause: "withhold", vehicleIds });
  }
  return told;
}

interface Issue {
  readonly cast: Cast;
  readonly start: StartRule;
  readonly cause: "rollout" | "resume" | "withhold";
  readonly vehicleIds: readonly string[];
}

async function issue(turn: Turn, loaded: LoadedRollout, { cast, start, cause, vehicleIds }: Issue): Promise<number> {
  if (vehicleIds.length === 0) return 0;
  const { row } = loaded;
  const { at, offlineBefore } = turn.moment;
  const revision = revisionOf(loaded, cast);
  const order = { revision, rolloutId: row.id, stage: cast, start, cause, correlationId: row.correlation_id };
  const count = await issueAssignments(turn.db, { ...order, issuedAt: at, offlineBefore }, vehicleList(vehicleIds));
  if (start === "allowed") {
    await sql`
      update rollout_members m
      set assigned_sequence = v.desired_sequence, assigned_at = coalesce(m.assigned_at, ${at}::timestamptz)
      from vehicles v
      where m.rollout_id = ${row.id} and m.vehicle_id = any (${[...vehicleIds]}::text[])
        and v.id = m.vehicle_id and v.desired_revision = ${revision}`.execute(turn.db);
  }
  return count;
}

/** The desired state of a stage's members; it is stored when the stage begins. */
export function revisionOf(loaded: LoadedRollout, cast: Cast): string {
  const stage = loaded.stages.find((each) => each.stage === cast);
  if (stage === undefined) throw new Error(`the stage ${cast} has not begun`);
  return stage.revision;
}

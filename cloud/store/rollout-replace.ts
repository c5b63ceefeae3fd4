import { sql } from "kysely";
import { replaceCanaries } from "../rollout/plan.ts";
import { vehicleList } from "./assignments.ts";
import { readCandidates } from "./rollout-candidates.ts";
import { membersWhere } from "./rollout-members.ts";
import type { Turn } from "./rollout-turn.ts";

/**
 * Takes others of the same groups for canaries that gave no answer: the two change places, so that the replaced ones get
 * the release with the wave. Canaries that failed are never replaced, and nobody
 * out of reach takes a place. Returns who took whose place.
 */
export async function replaceUnanswered(turn: Turn, rolloutId: string): Promise<ReadonlyMap<string, string>> {
  const { db, moment } = turn;
  const choice = { cast: "canary", condition: sql<boolean>`terminal is null`, limit: null } as const;
  const unanswered = await membersWhere(db, rolloutId, choice, moment);
  // The groups are those of the plan: a tag edited since then moves nobody.
  const { rows } = await sql<{ vehicle_id: string; region: string; model: string }>`
    select vehicle_id, region, model from rollout_members
    where rollout_id = ${rolloutId} and stage = 'wave' and assigned_sequence is null`.execute(db);
  const planned = new Map(rows.map((row) => [row.vehicle_id, row]));
  const candidates = await readCandidates(db, vehicleList([...planned.keys()]), moment);
  const spare = candidates.flatMap((each) => {
    const group = planned.get(each.vehicleId);
    const fit = group !== undefined && each.online && !each.excluded;
    return fit ? [{ ...each, region: group.region, model: group.model }] : [];
  });
  const replaced = replaceCanaries(unanswered, spare);
  if (replaced.size === 0) return replaced;
  await sql`
    update rollout_members m set stage = case m.stage when 'canary' then 'wave' else 'canary' end
    where m.rollout_id = ${rolloutId}
      and m.vehicle_id = any (${[...replaced.keys(), ...replaced.values()]}::text[])`.execute(db);
  return replaced;
}

import { sql } from "kysely";
import type { Actor } from "@muto/spec";
import { actorText } from "./actor.ts";
import { issueAssignments, vehicleList } from "./assignments.ts";
import type { Db } from "./database.ts";
import type { ReleaseRow } from "./release-rows.ts";
import type { Moment } from "./rollout-moment.ts";
import { UNFINISHED } from "./rollouts.ts";

/** Marks the release; from the commit on nobody is assigned it. Waits for transactions that are assigning it now. */
export async function markWithdrawn(
  db: Db,
  release: Pick<ReleaseRow, "name" | "version">,
  by: { readonly actor: Actor; readonly comment: string | null },
  at: string,
): Promise<boolean> {
  const marked = await db
    .updateTable("releases")
    .set({ withdrawn_at: at, withdrawn_by: actorText(by.actor), withdrawn_comment: by.comment })
    .where("name", "=", release.name)
    .where("version", "=", release.version)
    .where("withdrawn_at", "is", null)
    .executeTakeFirst();
  return marked.numUpdatedRows > 0n;
}

/** Unfinished rollouts of a release; they stop as by fail. */
export async function unfinishedRolloutsOf(db: Db, digest: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("rollouts")
    .select("id")
    .where("manifest_digest", "=", digest)
    .where("status", "in", UNFINISHED)
    .orderBy("id")
    .execute();
  return rows.map(({ id }) => id);
}

/**
 * Tells vehicles that may start the release outside of an unfinished rollout (given it directly, or left over from an ended
 * one) and have not begun to wait. What runs goes on. Returns how many were told.
 */
export async function withholdEverywhere(db: Db, digest: string, moment: Moment): Promise<number> {
  const { rows } = await sql<{
    revision: string;
    rollout_id: string | null;
    stage: string | null;
    correlation_id: string;
    vehicle_ids: string[];
  }>`
    select a.revision, a.rollout_id, a.stage, a.correlation_id, array_agg(v.id order by v.id) as vehicle_ids
    from vehicles v
    join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence and a.start = 'allowed'
    left join rollouts r on r.id = a.rollout_id
    left join reconcile_reports l on l.vehicle_id = v.id and l.report_id = v.latest_report_id
    where v.desired_digest = ${digest} and v.status in ('pending', 'applying', 'blocked')
      and (r.id is null or r.status in ('completed', 'rolled_back'))
      and coalesce(l.sequence <> a.sequence
        or l.body ->> 'phase' not in ('switch', 'probe', 'probation', 'commit', 'rollback'), true)
    group by a.revision, a.rollout_id, a.stage, a.correlation_id order by a.revision, a.stage`.execute(db);
  let told = 0;
  for (const row of rows) {
    const order = { revision: row.revision, rolloutId: row.rollout_id, stage: row.stage } as const;
    const rest = { start: "withheld", cause: "withhold", correlationId: row.correlation_id } as const;
    const times = { issuedAt: moment.at, offlineBefore: moment.offlineBefore };
    told += await issueAssignments(db, { ...order, ...rest, ...times }, vehicleList(row.vehicle_ids));
  }
  return told;
}

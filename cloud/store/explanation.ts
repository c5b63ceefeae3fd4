import { sql } from "kysely";
import type { AssignmentSummary, RolloutBrief } from "@muto/spec";
import type { Db } from "./database.ts";

/** The newest assignment of a vehicle, and the rollout that claims it or that the assignment is of. */
export async function intentFor(
  db: Db,
  vehicleId: string,
): Promise<{ readonly assignment: AssignmentSummary | null; readonly rollout: RolloutBrief | null }> {
  const { rows } = await sql<IntentRow>`
    select a.sequence, a.revision, a.rollout_id, a.start, a.issued_at, a.accept_before, a.start_before,
      a.retry, d.stack_name, d.stack_version, d.manifest_digest
    from vehicles v
    join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence
    join desired_states d on d.revision = a.revision
    where v.id = ${vehicleId}`.execute(db);
  const row = rows[0];
  const rollout = await sql<RolloutRow>`
    select r.id, r.status, r.stage, r.outcome, r.stack_name, r.stack_version, r.manifest_digest from rollouts r
    where r.id = coalesce(
      (select m.rollout_id from rollout_members m where m.vehicle_id = ${vehicleId} and m.open), ${row?.rollout_id ?? null})`.execute(
    db,
  );
  return {
    assignment:
      row === undefined
        ? null
        : {
            sequence: row.sequence,
            desiredStateRevision: row.revision,
            rolloutId: row.rollout_id,
            stack: { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest },
            start: row.start,
            retry: row.retry,
            issuedAt: row.issued_at,
            acceptBefore: row.accept_before,
            startBefore: row.start_before,
          },
    rollout: rollout.rows.map(briefOf)[0] ?? null,
  };
}

interface IntentRow {
  readonly sequence: number;
  readonly revision: string;
  readonly rollout_id: string | null;
  readonly start: AssignmentSummary["start"];
  readonly issued_at: string;
  readonly accept_before: string;
  readonly start_before: string;
  readonly retry: boolean;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
}

interface RolloutRow extends Pick<RolloutBrief, "id" | "status" | "stage" | "outcome"> {
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
}

function briefOf(row: RolloutRow): RolloutBrief {
  const { id, status, stage, outcome } = row;
  const stack = { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest };
  return { id, status, stage, outcome, stack };
}

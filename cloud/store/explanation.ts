import { sql } from "kysely";
import type { AssignmentSummary, FailedChange, RolloutBrief } from "@muto/spec";
import type { Db } from "./database.ts";
import { stackRef } from "./stack-ref.ts";

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

/**
 * The newest report of the vehicle's current installation that says that a change failed or was rolled back, with the
 * release that the change was to. Refusals of what is in quarantine are not it: they say nothing of the cause.
 */
export async function lastFailureOf(
  db: Db,
  vehicle: { readonly id: string; readonly install_id: string | null; readonly report_seq: number },
): Promise<FailedChange | null> {
  if (vehicle.install_id === null) return null;
  const row = await db
    .selectFrom("reconcile_reports as r")
    .leftJoin("desired_states as d", "d.revision", "r.revision")
    .select(["r.body", "d.stack_name", "d.stack_version", "d.manifest_digest"])
    .where("r.vehicle_id", "=", vehicle.id)
    .where("r.install_id", "=", vehicle.install_id)
    .where("r.signed", "=", true)
    .where("r.seq", ">", vehicle.report_seq - FAILURE_REPORTS_MAX)
    .where("r.status", "in", ["failed", "rolled_back"])
    .where(sql<boolean>`not r.body @> ${JSON.stringify(QUARANTINED)}::jsonb`)
    .orderBy("r.seq", "desc")
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return null;
  return { stack: stackRef(row.stack_name, row.stack_version, row.manifest_digest), report: row.body };
}

const QUARANTINED = { evidence: [{ kind: "quarantine" }] };

/** So many of the newest reports are looked through. */
const FAILURE_REPORTS_MAX = 1000;

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

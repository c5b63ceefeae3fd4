import { sql } from "kysely";
import type { Policy, ReleaseSignature, StartRule } from "@muto/spec";
import type { Db } from "./database.ts";

/** What a poll needs to know to answer "nothing new" with one statement. */
export interface PollState {
  readonly sequence: number;
  readonly floor: number;
  readonly installId: string | null;
  readonly status: string;
  readonly start_before: string | null;
  readonly accept_before: string | null;
  readonly start_before_sec: number | null;
  /** How far the reports of the installation that asks have arrived without a gap; null when it has reported nothing. */
  readonly acked: number | null;
  /** The database is older than the world (H16). */
  readonly guarded: boolean;
  /** The vehicle has not said its floor since a restored database was confirmed. */
  readonly unchecked: boolean;
}

export async function pollState(
  db: Db,
  vehicleId: string,
  installId: string | undefined,
): Promise<PollState | undefined> {
  const { rows } = await sql<PollState>`
    select v.desired_sequence as sequence, v.floor_unchecked as unchecked, v.sequence_floor as floor, v.install_id as "installId", v.status,
      a.start_before, a.accept_before, d.start_before_sec, i.acked_seq as acked,
      exists (select 1 from settings where key = 'restore-guard') as guarded
    from vehicles v
    left join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence
    left join desired_states d on d.revision = a.revision
    left join vehicle_installs i on i.vehicle_id = v.id and i.install_id = ${installId ?? null}
    where v.id = ${vehicleId}`.execute(db);
  return rows[0];
}

/** Everything that the signed bytes of one assignment are made of, and the release's signatures that go with it. */
export interface LatestAssignment {
  readonly vehicle_id: string;
  readonly sequence: number;
  readonly revision: string;
  readonly rollout_id: string | null;
  readonly start: StartRule;
  readonly retry: boolean;
  readonly correlation_id: string;
  readonly issued_at: string;
  readonly accept_before: string;
  readonly start_before: string;
  readonly stack_name: string;
  readonly stack_version: string;
  readonly manifest_digest: string;
  readonly policy: Policy;
  readonly repository: string;
  readonly signatures: readonly ReleaseSignature[];
}

/** The newest assignment of a vehicle; undefined while it has none. */
export async function latestAssignment(db: Db, vehicleId: string): Promise<LatestAssignment | undefined> {
  const { rows } = await sql<LatestAssignment>`
    select a.vehicle_id, a.sequence, a.revision, a.rollout_id, a.start, a.retry, a.correlation_id,
      a.issued_at, a.accept_before, a.start_before,
      d.stack_name, d.stack_version, d.manifest_digest, d.policy, r.repository, r.signatures
    from vehicles v
    join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence
    join desired_states d on d.revision = a.revision
    join releases r on r.name = d.stack_name and r.version = d.stack_version
    where v.id = ${vehicleId}`.execute(db);
  return rows[0];
}

import { sql } from "kysely";
import type { Policy, ReleaseSignature, StartRule } from "@muto/spec";
import type { Selectable } from "kysely";
import type { Db } from "./database.ts";
import type { VehiclesTable } from "./tables.ts";

/** What a poll needs to know to answer "nothing new": one row, which authentication has read already. */
export type PollState = Pick<Selectable<VehiclesTable>, (typeof POLL_COLUMNS)[number]>;

export const POLL_COLUMNS = [
  "desired_sequence",
  "desired_renew_at",
  "sequence_floor",
  "floor_unchecked",
  "status",
  "reason_codes",
  "install_id",
  "acked_seq",
] as const satisfies readonly (keyof VehiclesTable)[];

export async function pollState(db: Db, vehicleId: string): Promise<PollState | undefined> {
  return await db.selectFrom("vehicles").select(POLL_COLUMNS).where("id", "=", vehicleId).executeTakeFirst();
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
  /** The document as it was first handed out; null when it never was. */
  readonly payload: string | null;
}

/** The newest assignment of a vehicle; undefined while it has none. */
export async function latestAssignment(db: Db, vehicleId: string): Promise<LatestAssignment | undefined> {
  const { rows } = await sql<LatestAssignment>`
    select a.vehicle_id, a.sequence, a.revision, a.rollout_id, a.start, a.retry, a.correlation_id,
      a.issued_at, a.accept_before, a.start_before, a.payload,
      d.stack_name, d.stack_version, d.manifest_digest, d.policy, r.repository, r.signatures
    from vehicles v
    join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence
    join desired_states d on d.revision = a.revision
    join releases r on r.name = d.stack_name and r.version = d.stack_version
    where v.id = ${vehicleId}`.execute(db);
  return rows[0];
}

/** Keeps the document of an assignment that is handed out for the first time. Returns the one that was kept first. */
export async function keepPayload(db: Db, row: LatestAssignment, payload: string): Promise<string> {
  const kept = await db
    .updateTable("assignments")
    .set({ payload: sql<string>`coalesce(payload, ${payload})` })
    .where("vehicle_id", "=", row.vehicle_id)
    .where("sequence", "=", row.sequence)
    .returning("payload")
    .executeTakeFirstOrThrow();
  return kept.payload ?? payload;
}

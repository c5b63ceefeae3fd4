import { sql } from "kysely";
import type { RawBuilder } from "kysely";
import { REASONS } from "@muto/spec";
import type { StartRule } from "@muto/spec";
import { wake } from "./database.ts";
import type { Db } from "./database.ts";
import type { AssignmentCause } from "./tables.ts";
import { appendVehicleEvents } from "./vehicle-events.ts";

/** How long a vehicle may accept an assignment after its issue (design: trust, "Documents"). */
const ACCEPT_FOR_MS = 30 * 24 * 3600 * 1000;

/** What is the same for every vehicle that one order assigns. */
export interface AssignmentOrder {
  /** An existing desired state; it names the release, the policy, `retry`, and how long the assignment may be started. */
  readonly revision: string;
  readonly rolloutId: string | null;
  /** `canary`, `wave` or `rollback` inside a rollout. */
  readonly stage: string | null;
  readonly start: StartRule;
  readonly cause: Exclude<AssignmentCause, "renewal">;
  readonly correlationId: string;
  readonly issuedAt: string;
  /** Vehicles last seen before this are offline; for the live feed only. */
  readonly offlineBefore: string;
}

/** The ids as a subquery with the one column `vehicle_id`, which is how this file takes its vehicles. */
export function vehicleList(vehicleIds: readonly string[]): RawBuilder<{ vehicle_id: string }> {
  return sql`select unnest(${vehicleIds}::text[]) as vehicle_id`;
}

/**
 * Locks vehicles in the order of their ids, as everybody does who changes several. Whoever issues more than one order in a
 * transaction locks all of its vehicles first, or two transactions could wait for each other.
 */
export async function lockVehicles(db: Db, vehicleIds: readonly string[]): Promise<void> {
  await sql`select v.id from vehicles v where v.id in (${vehicleList(vehicleIds)}) order by v.id for update`.execute(
    db,
  );
}

/**
 * Makes the desired state the latest for every vehicle of the subquery (one column, `vehicle_id`), in one statement for a
 * whole fleet. Each gets the sequence max(stored, its own floor) + 1 (H16). Decommissioned and revoked vehicles, and those
 * with a clone alarm (H19), are left out. Call it inside a transaction; notifies and feed are woken at its commit.
 * Returns how many vehicles were assigned.
 */
export async function issueAssignments(
  db: Db,
  order: AssignmentOrder,
  vehicles: RawBuilder<{ vehicle_id: string }>,
): Promise<number> {
  // In a statement of its own: the next one must see what another transaction, waited for here, has just assigned.
  await sql`select count(*) from (
    select 1 from vehicles v where v.id in (${vehicles}) order by v.id for update
  ) locked`.execute(db);
  const { rows } = await sql<{ vehicle_id: string }>`
    with chosen as (
      select v.id from vehicles v
      where v.id in (${vehicles})
        and v.decommissioned_at is null and v.revoked_at is null and v.clone_alarm_at is null
      order by v.id for update
    ), intent as (
      select * from desired_states where revision = ${order.revision}
    ), moved as (
      update vehicles v set
        desired_sequence = greatest(v.desired_sequence, v.sequence_floor) + 1,
        desired_revision = intent.revision,
        desired_name = intent.stack_name, desired_version = intent.stack_version, desired_digest = intent.manifest_digest,
        desired_renew_at = ${renewAtSql(order.issuedAt, sql`intent.start_before_sec`)},
        status = 'pending',
        status_since = case when v.status = 'pending' then v.status_since else ${order.issuedAt}::timestamptz end,
        reason_codes = '{}',
        updated_at = ${order.issuedAt}::timestamptz
      from chosen, intent where v.id = chosen.id
      returning v.id, v.desired_sequence, v.sequence_floor
    ), superseded as (
      update assignments a set superseded_at = ${order.issuedAt}::timestamptz
      from moved where a.vehicle_id = moved.id and a.superseded_at is null
    ), told as (
      insert into timeline (vehicle_id, at, event, sequence, revision, rollout_id, stack_name, stack_version, stack_digest)
      select moved.id, ${order.issuedAt}::timestamptz, 'desired_notified', moved.desired_sequence, intent.revision,
        ${order.rolloutId}, intent.stack_name, intent.stack_version, intent.manifest_digest
      from moved, intent
    ), inserted as (
      insert into assignments (vehicle_id, sequence, revision, rollout_id, stage, start, cause, retry, correlation_id,
        issued_at, accept_before, start_before)
      select moved.id, moved.desired_sequence, intent.revision, ${order.rolloutId}, ${order.stage}, ${order.start},
        ${order.cause}, ${retrySql(sql`moved.id`, sql`moved.sequence_floor`, sql`intent`)},
        ${order.correlationId}, ${order.issuedAt}::timestamptz,
        ${order.issuedAt}::timestamptz + ${ACCEPT_FOR_MS} * interval '1 millisecond',
        ${order.issuedAt}::timestamptz + intent.start_before_sec * interval '1 second'
      from moved, intent
      returning vehicle_id
    )
    select vehicle_id from inserted`.execute(db);
  if (rows.length > 0) {
    const time = { at: order.issuedAt, offlineBefore: order.offlineBefore };
    // By name, not as a subquery over what was just written: the planner knows nothing of those rows yet.
    await appendVehicleEvents(db, time, vehicleList(rows.map((row) => row.vehicle_id)));
    await wake(db, "muto_notify");
  }
  return rows.length;
}

/**
 * Issues the newest assignment of one vehicle once more, with new times and a new sequence, when the vehicle still needs
 * it: its time to start or to accept is half over, or the vehicle knows a higher sequence than the database (H16). Changes
 * nothing for a vehicle that has answered (that it came too late is no answer), for a withdrawn release, or under a clone alarm. True when one was issued.
 */
export async function renewAssignment(db: Db, vehicleId: string, at: string): Promise<boolean> {
  const renewed = await sql`
    with wanted as (
      select v.id, v.sequence_floor, a.*, d.start_before_sec,
        ${retrySql(sql`v.id`, sql`v.sequence_floor`, sql`d`)} as retry_again,
        case when ${HALTED_SQL} then 'withheld' else a.start end as start_again,
        greatest(v.desired_sequence, v.sequence_floor) + 1 as next_sequence
      from vehicles v
      join assignments a on a.vehicle_id = v.id and a.sequence = v.desired_sequence
      join desired_states d on d.revision = a.revision
      join releases r on r.name = d.stack_name and r.version = d.stack_version
      where v.id = ${vehicleId} and r.withdrawn_at is null
        and v.decommissioned_at is null and v.revoked_at is null and v.clone_alarm_at is null
        and (v.sequence_floor > v.desired_sequence
          or ((v.status in ('pending', 'applying', 'blocked') or ${REASONS.DESIRED_STATE_REJECTED.code}::text = any (v.reason_codes))
            and v.desired_renew_at <= ${at}::timestamptz))
      for update of v
    ), moved as (
      update vehicles v set desired_sequence = wanted.next_sequence, updated_at = ${at}::timestamptz,
        desired_renew_at = ${renewAtSql(at, sql`wanted.start_before_sec`)}
      from wanted where v.id = wanted.id
    ), superseded as (
      update assignments a set superseded_at = ${at}::timestamptz
      from wanted where a.vehicle_id = wanted.id and a.superseded_at is null
    )
    insert into assignments (vehicle_id, sequence, revision, rollout_id, stage, start, cause, retry, correlation_id,
      issued_at, accept_before, start_before, notified_at)
    select id, next_sequence, revision, rollout_id, stage, start_again, 'renewal', retry_again, correlation_id,
      ${at}::timestamptz,
      ${at}::timestamptz + ${ACCEPT_FOR_MS} * interval '1 millisecond',
      ${at}::timestamptz + start_before_sec * interval '1 second',
      -- The vehicle is just asking: it need not be told to ask.
      ${at}::timestamptz
    from wanted`.execute(db);
  return (renewed.numAffectedRows ?? 0n) > 0n;
}

/**
 * Whether an assignment of `intent` still has to carry `retry`: only until the vehicle has accepted one that did. A
 * re-issue after that would lift the quarantine of a release that has failed again meanwhile (H15).
 */
function retrySql(vehicleId: RawBuilder<unknown>, floor: RawBuilder<unknown>, intent: RawBuilder<unknown>) {
  return sql<boolean>`${intent}.retry and not exists (
    select 1 from assignments earlier
    where earlier.vehicle_id = ${vehicleId} and earlier.revision = ${intent}.revision
      and earlier.retry and earlier.sequence <= ${floor})`;
}

/** Half of the shorter of both times: to start, and to accept. */
function renewAtSql(issuedAt: string, startBeforeSec: RawBuilder<unknown>): RawBuilder<string> {
  return sql`${issuedAt}::timestamptz
    + least(${startBeforeSec} * interval '500 milliseconds', ${ACCEPT_FOR_MS / 2} * interval '1 millisecond')`;
}

/**
 * Whether the assignment `a` is of a rollout that has been stopped since: a vehicle that could not be told so at that time
 * (a clone alarm, a restored database) is told with the renewal, and never allowed to start anew.
 */
const HALTED_SQL = sql<boolean>`(a.stage in ('canary', 'wave') and exists (
  select 1 from rollouts o where o.id = a.rollout_id and o.status <> 'active'
    and not (o.status = 'completed' and o.outcome in ('clean', 'stragglers'))))`;

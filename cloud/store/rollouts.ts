import { sql } from "kysely";
import type { Selectable, Updateable } from "kysely";
import type { AuditState, MemberCounts, RolloutStage, RolloutSummary } from "@muto/spec";
import { addCounts, memberTotal } from "../rollout/classify.ts";
import type { ClassCounts } from "../rollout/classify.ts";
import { progressOf } from "../rollout/facts.ts";
import type { RolloutFacts } from "../rollout/facts.ts";
import { readActor } from "./actor.ts";
import type { Db } from "./database.ts";
import { appendEvents } from "./events.ts";
import { restoreGuard } from "./restore-guard.ts";
import { readCohorts, readReturns } from "./rollout-members.ts";
import type { Moment } from "./rollout-moment.ts";
import { milliseconds } from "./rollout-moment.ts";
import type { Turn } from "./rollout-turn.ts";
import type { RolloutStagesTable, RolloutsTable } from "./tables.ts";

export type RolloutRow = Selectable<RolloutsTable>;
export type StageRow = Selectable<RolloutStagesTable>;

/** A rollout with everything that decisions about it are made from. */
export interface LoadedRollout {
  readonly row: RolloutRow;
  /** In the order in which they were entered. */
  readonly stages: readonly StageRow[];
  readonly facts: RolloutFacts;
}

/**
 * Takes the rollout for this transaction. `skip` gives up when another replica has it: whoever has it takes the step.
 * Undefined when there is no such rollout, or it is taken.
 */
export async function lockRollout(db: Db, id: string, whenTaken: "wait" | "skip"): Promise<RolloutRow | undefined> {
  const query = db.selectFrom("rollouts").selectAll().where("id", "=", id).forUpdate();
  return await (whenTaken === "skip" ? query.skipLocked() : query).executeTakeFirst();
}

export async function findRollout(db: Db, id: string): Promise<RolloutRow | undefined> {
  return await db.selectFrom("rollouts").selectAll().where("id", "=", id).executeTakeFirst();
}

/** Rollouts whose time has come, the longest waiting first; with `unfinished`, all that may take a step at a wake. */
export async function rolloutsToLookAt(
  db: Db,
  when: { readonly at: string; readonly unfinished: boolean },
): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("rollouts")
    .select("id")
    .where((where) =>
      where.or([where("step_due_at", "<=", when.at), ...(when.unfinished ? [where("status", "in", UNFINISHED)] : [])]),
    )
    .orderBy("step_due_at")
    .orderBy("id")
    .execute();
  return rows.map(({ id }) => id);
}

export const UNFINISHED = ["active", "paused", "rolling_back"] as const;

/**
 * Reads the facts of a moment. With `holdRelease` (inside a transaction that may assign) the release cannot be withdrawn
 * between this reading and the commit, so that a withdrawn release is never assigned.
 */
export async function loadRollout(
  db: Db,
  row: RolloutRow,
  moment: Moment,
  options: { readonly holdRelease: boolean },
): Promise<LoadedRollout> {
  const release = db
    .selectFrom("releases")
    .select("withdrawn_at")
    .where("name", "=", row.stack_name)
    .where("version", "=", row.stack_version);
  const { withdrawn_at } = await (options.holdRelease ? release.forShare() : release).executeTakeFirstOrThrow();
  const stages = await db
    .selectFrom("rollout_stages")
    .selectAll()
    .where("rollout_id", "=", row.id)
    .orderBy("started_at")
    .orderBy(sql`array_position(array['canary', 'soak', 'wave', 'watch'], stage)`)
    .execute();
  const deadlineOf = (stage: RolloutStage) =>
    milliseconds(stages.find((each) => each.stage === stage)?.deadline_at ?? null);
  const clock =
    row.status === "rolling_back" ? milliseconds(row.return_deadline_at) : deadlineOf(clockStage(row.stage));
  const facts: RolloutFacts = {
    status: row.status,
    stage: row.stage,
    pause: row.pause?.cause ?? null,
    accepted: row.accepted,
    withdrawn: withdrawn_at !== null,
    restored: (await restoreGuard(db)) !== undefined,
    settings: row.settings,
    planned: { canary: row.planned_canary, wave: row.planned_wave },
    cohorts: await readCohorts(db, row.id, moment),
    returns: row.returning_stages === null ? NOBODY_RETURNS : await readReturns(db, row.id, moment),
    clockFromMs: (clock ?? moment.nowMs) - row.settings.stageDeadlineSec * 1000,
    soakUntilMs: deadlineOf("soak"),
    watchUntilMs: deadlineOf("watch"),
    offlineAfterMs: moment.offlineAfterMs,
    nowMs: moment.nowMs,
  };
  return { row, stages, facts };
}

const NOBODY_RETURNS = { converged: 0, failed: 0, open: 0, offline: 0, without: 0, lastSeenMs: null } as const;

/** The canaries stay under the clock of their own stage while they soak. */
function clockStage(stage: RolloutStage): RolloutStage {
  switch (stage) {
    case "canary":
    case "soak":
      return "canary";
    case "wave":
    case "watch":
      return "wave";
  }
}

export async function updateRollout(
  turn: Turn,
  id: string,
  change: Omit<Updateable<RolloutsTable>, "id" | "updated_at">,
): Promise<void> {
  await turn.db
    .updateTable("rollouts")
    .set({ ...change, updated_at: turn.moment.at })
    .where("id", "=", id)
    .execute();
}

export async function enterStage(
  turn: Turn,
  id: string,
  entry: { readonly stage: RolloutStage; readonly revision: string; readonly deadlineAt: string },
): Promise<void> {
  await endStage(turn, id);
  await turn.db
    .insertInto("rollout_stages")
    .values({
      rollout_id: id,
      stage: entry.stage,
      revision: entry.revision,
      started_at: turn.moment.at,
      deadline_at: entry.deadlineAt,
      ended_at: null,
      verdict: null,
    })
    .execute();
}

export async function endStage(turn: Turn, id: string): Promise<void> {
  await turn.db
    .updateTable("rollout_stages")
    .set({ ended_at: turn.moment.at })
    .where("rollout_id", "=", id)
    .where("ended_at", "is", null)
    .execute();
}

/** Gives the vehicles free for other rollouts (H27). */
export async function releaseMembers(turn: Turn, id: string): Promise<void> {
  await turn.db
    .updateTable("rollout_members")
    .set({ open: false })
    .where("rollout_id", "=", id)
    .where("open", "=", true)
    .execute();
}

export function countsOf(facts: RolloutFacts): MemberCounts {
  return memberCounts(addCounts(progressOf(facts, "canary").counts, progressOf(facts, "wave").counts));
}

export function memberCounts(counts: ClassCounts): MemberCounts {
  return {
    ...counts,
    members: memberTotal(counts),
    answered: counts.converged + counts.failed + counts.rolledBack,
  };
}

/** What the audit log says of a rollout before and after a decision. */
export function auditState(row: Pick<RolloutRow, "status" | "stage" | "outcome" | "pause">): AuditState {
  return { status: row.status, stage: row.stage, outcome: row.outcome, pause: row.pause?.cause ?? null };
}

/** Members by class as they were counted last. */
export function summaryOf(row: RolloutRow): RolloutSummary {
  return {
    id: row.id,
    status: row.status,
    stage: row.stage,
    outcome: row.outcome,
    stack: { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest },
    counts: row.counts ?? memberCounts({ ...NO_COUNTS, waiting: row.planned_canary + row.planned_wave }),
    createdAt: row.created_at,
    endedAt: row.ended_at,
    createdBy: readActor(row.created_by),
  };
}

const NO_COUNTS: ClassCounts = {
  converged: 0,
  failed: 0,
  rolledBack: 0,
  blocked: 0,
  applying: 0,
  pending: 0,
  offline: 0,
  waiting: 0,
};

/** Tells the live feed how the rollout stands now. */
export async function appendRolloutEvent(turn: Turn, id: string): Promise<void> {
  const row = await findRollout(turn.db, id);
  if (row !== undefined)
    await appendEvents(turn.db, [{ type: "rollout", at: turn.moment.at, rollout: summaryOf(row) }]);
}

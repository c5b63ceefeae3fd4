import { timestamp } from "@muto/kit/clock";
import type { AuditAction, AuditState, MemberCounts, RolloutPause, RolloutStage } from "@muto/spec";
import { MEMBER_CLASSES } from "../rollout/classify.ts";
import { CASTS } from "../rollout/gate.ts";
import { decide, leadingVerdict } from "../rollout/machine.ts";
import type { Step, StopReason } from "../rollout/machine.ts";
import { SYSTEM } from "./actor.ts";
import type { NewAuditEntry } from "./audit.ts";
import { wake } from "./database.ts";
import { insertDesiredState } from "./desired-states.ts";
import { assignCast, revisionOf, withholdMembers } from "./rollout-assign.ts";
import { milliseconds } from "./rollout-moment.ts";
import { sendBack } from "./rollout-return.ts";
import type { Turn } from "./rollout-turn.ts";
import { note } from "./rollout-turn.ts";
import { recordVerdict } from "./rollout-verdict.ts";
import {
  appendRolloutEvent,
  auditState,
  countsOf,
  endStage,
  enterStage,
  loadRollout,
  releaseMembers,
  updateRollout,
} from "./rollouts.ts";
import type { LoadedRollout, RolloutRow } from "./rollouts.ts";

/** How often an unfinished rollout is looked at when nothing is heard. */
const LOOK_AGAIN_MS = 15_000;
/** How often, and for how long, the members of an ended rollout that have not answered yet are counted again. */
const STRAGGLERS_LOOK_MS = 300_000;
const STRAGGLERS_FOR_MS = 30 * 24 * 3600 * 1000;

/**
 * Decides and takes one step of a locked rollout inside the caller's transaction, with everything that belongs to it:
 * assignments, timelines, verdict, audit entries, event, and when to look again. Returns the step taken; `wait` means that
 * there is nothing more to do now.
 */
export async function takeStep(turn: Turn, row: RolloutRow): Promise<Step> {
  const loaded = await loadRollout(turn.db, row, turn.moment, { holdRelease: true });
  const decision = decide(loaded.facts);
  if (row.status === "active" || row.status === "paused") {
    await recordVerdict(turn, loaded, leadingVerdict(loaded.facts, decision));
  }
  await perform(turn, loaded, decision.step);
  await keepCounts(turn, loaded, decision.step);
  return decision.step;
}

async function perform(turn: Turn, loaded: LoadedRollout, step: Step): Promise<void> {
  switch (step.kind) {
    case "assignCanaries":
      await assignCast(turn, loaded, "canary", loaded.row.planned_canary);
      return;
    case "assignWave":
      await assignCast(turn, loaded, "wave", step.onlineMax);
      return;
    case "startSoak":
      return await startStage(turn, loaded, "soak", revisionOf(loaded, "canary"), step.untilMs);
    case "startWave":
      return await startWave(turn, loaded);
    case "startWatch":
      await updateRollout(turn, loaded.row.id, { accepted: false });
      return await startStage(turn, loaded, "watch", revisionOf(loaded, "wave"), step.untilMs);
    case "withhold":
      await withholdMembers(turn, loaded);
      return;
    case "pauseInconclusive":
      return await pauseBySystem(turn, loaded, "inconclusive");
    case "pauseRestored":
      return await pauseBySystem(turn, loaded, "restored-database");
    case "rollBack":
      return await rollBack(turn, loaded, step.reason);
    case "finishRollback":
      return await endRollout(
        turn,
        loaded.row,
        { status: "rolled_back", outcome: step.outcome },
        "rollout.rolled-back",
      );
    case "complete":
      return await endRollout(turn, loaded.row, { status: "completed", outcome: step.outcome }, "rollout.completed");
    case "wait":
      return;
  }
}

async function startStage(
  turn: Turn,
  loaded: LoadedRollout,
  stage: RolloutStage,
  revision: string,
  deadlineMs: number,
): Promise<void> {
  const { row } = loaded;
  await enterStage(turn, row.id, { stage, revision, deadlineAt: timestamp(deadlineMs) });
  await updateRollout(turn, row.id, { stage });
  noteDecision(turn, row, "rollout.stage-started", { ...auditState(row), stage });
}

/** The wave gets a desired state of its own, so that reports and people can tell the stages apart. */
async function startWave(turn: Turn, loaded: LoadedRollout): Promise<void> {
  const { row } = loaded;
  const revision = turn.newRevision();
  await insertDesiredState(turn.db, {
    revision,
    target: row.target,
    stack: { name: row.stack_name, version: row.stack_version, manifestDigest: row.manifest_digest },
    policy: row.policy,
    start: "allowed",
    retry: row.retry,
    startBeforeSec: row.settings.startBeforeSec,
    rollout: { strategy: "canary", rolloutId: row.id, waveId: "wave-1" },
    reach: { vehicles: row.planned_wave, withoutCanary: 0 },
    correlationId: row.correlation_id,
    createdAt: turn.moment.at,
    createdBy: SYSTEM,
  });
  await updateRollout(turn, row.id, { accepted: false });
  await startStage(turn, loaded, "wave", revision, turn.moment.nowMs + row.settings.stageDeadlineSec * 1000);
}

async function pauseBySystem(turn: Turn, loaded: LoadedRollout, cause: RolloutPause["cause"]): Promise<void> {
  const { row } = loaded;
  const pause = { cause, at: turn.moment.at, by: SYSTEM } as const;
  await withholdMembers(turn, loaded);
  await updateRollout(turn, row.id, { status: "paused", pause: JSON.stringify(pause), accepted: false });
  noteDecision(turn, row, "rollout.paused", auditState({ ...row, status: "paused", pause }));
}

async function rollBack(turn: Turn, loaded: LoadedRollout, reason: StopReason): Promise<void> {
  const { row } = loaded;
  await sendBack(turn, loaded, CASTS);
  noteDecision(turn, row, "rollout.rollback-started", {
    ...auditState({ ...row, status: "rolling_back", pause: null }),
    ...reason,
  });
}

/** Ends the rollout: it claims nobody any more, and takes no further step by itself. */
export async function endRollout(
  turn: Turn,
  row: RolloutRow,
  ended: Pick<RolloutRow, "status" | "outcome"> & Partial<Pick<RolloutRow, "superseded_by">>,
  action: AuditAction,
  by: Pick<NewAuditEntry, "actor" | "comment"> = { actor: SYSTEM },
): Promise<void> {
  await releaseMembers(turn, row.id);
  await endStage(turn, row.id);
  await updateRollout(turn, row.id, { ...ended, pause: null, ended_at: turn.moment.at });
  noteDecision(turn, row, action, auditState({ ...row, ...ended, pause: null }), by);
}

export function noteDecision(
  turn: Turn,
  row: RolloutRow,
  action: AuditAction,
  after: AuditState,
  by: Pick<NewAuditEntry, "actor" | "comment"> = { actor: SYSTEM },
): void {
  note(turn, {
    ...by,
    action,
    subject: { type: "rollout", id: row.id },
    correlationId: row.correlation_id,
    before: auditState(row),
    after,
  });
}

/** Keeps how many members are in which class, says when to look again, and tells the live feed what changed. */
async function keepCounts(turn: Turn, loaded: LoadedRollout, step: Step): Promise<void> {
  const { db, moment } = turn;
  const { row, facts } = step.kind === "wait" ? loaded : await reload(turn, loaded.row.id);
  const counts = countsOf(facts);
  const changed = step.kind !== "wait" || !isSame(counts, loaded.row.counts);
  const dueMs = step.kind === "wait" ? nextLookMs(row, counts, step.wakeAtMs, moment.nowMs) : moment.nowMs;
  const step_due_at = dueMs === null ? null : timestamp(dueMs);
  await db
    .updateTable("rollouts")
    .set({ counts: JSON.stringify(counts), step_due_at })
    .where("id", "=", row.id)
    .execute();
  if (changed) await appendRolloutEvent(turn, row.id);
  if (step.kind !== "wait") await wake(db, "muto_work");
}

async function reload(turn: Turn, id: string): Promise<LoadedRollout> {
  const row = await turn.db.selectFrom("rollouts").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
  return await loadRollout(turn.db, row, turn.moment, { holdRelease: false });
}

function isSame(left: MemberCounts, right: MemberCounts | null): boolean {
  return right !== null && left.members === right.members && MEMBER_CLASSES.every((name) => left[name] === right[name]);
}

/** Null once nothing can change any more. */
function nextLookMs(row: RolloutRow, counts: MemberCounts, wakeAtMs: number | null, nowMs: number): number | null {
  switch (row.status) {
    case "active":
    case "paused":
    case "rolling_back":
      return Math.min(wakeAtMs ?? Infinity, nowMs + LOOK_AGAIN_MS);
    case "rolled_back":
    case "completed": {
      const endedMs = milliseconds(row.ended_at) ?? nowMs;
      const hopeful = counts.answered < counts.members && nowMs - endedMs < STRAGGLERS_FOR_MS;
      return hopeful ? nowMs + STRAGGLERS_LOOK_MS : null;
    }
  }
}

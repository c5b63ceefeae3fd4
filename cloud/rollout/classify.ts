import type { MemberClass, ReconcileReport } from "@muto/spec";

/*
 * The class of one member of a stage. Only reports that were received, that bear a valid signature, and that are about an
 * assignment of this rollout count (H18). Nothing else that is known or hoped of the vehicle does.
 *
 *   converged, failed, rolledBack   the newest terminal report says so; it stands until another terminal report, because a
 *                                   vehicle that failed and then waits for a gate has still failed (H15)
 *   waiting                         no assignment of this rollout yet
 *   offline                         no terminal report, and nothing was heard for longer than the threshold
 *   blocked, applying               no terminal report, within reach, and the newest report says so
 *   pending                         everything else: assigned, within reach, and nothing said
 */

export const MEMBER_CLASSES = [
  "converged",
  "failed",
  "rolledBack",
  "blocked",
  "applying",
  "pending",
  "offline",
  "waiting",
] as const satisfies readonly MemberClass[];
export type ClassCounts = Readonly<Record<MemberClass, number>>;

export type ReportStatus = ReconcileReport["status"];
export type TerminalStatus = Extract<ReportStatus, "converged" | "failed" | "rolled_back">;

/** What the database says of one member. */
export interface MemberFacts {
  /** Whether this rollout has ever assigned its release to the vehicle. */
  readonly assigned: boolean;
  /** Newest terminal status among the signed reports about this rollout's assignments of the release. */
  readonly terminal: TerminalStatus | null;
  /** Newest status of any kind among the same reports. */
  readonly latest: ReportStatus | null;
  /** Whether the vehicle was heard of within the threshold; never heard of is false. */
  readonly online: boolean;
}

/** Exactly one class for every member. */
export function classify(member: MemberFacts): MemberClass {
  switch (member.terminal) {
    case "converged":
    case "failed":
      return member.terminal;
    case "rolled_back":
      return "rolledBack";
    case null:
      break;
  }
  if (!member.assigned) return "waiting";
  if (!member.online) return "offline";
  return member.latest === "blocked" || member.latest === "applying" ? member.latest : "pending";
}

export function isAnswer(memberClass: MemberClass): boolean {
  return memberClass === "converged" || memberClass === "failed" || memberClass === "rolledBack";
}

export function noMembers(): Record<MemberClass, number> {
  return { converged: 0, failed: 0, rolledBack: 0, blocked: 0, applying: 0, pending: 0, offline: 0, waiting: 0 };
}

export function memberTotal(counts: ClassCounts): number {
  return MEMBER_CLASSES.reduce((sum, name) => sum + counts[name], 0);
}

export function addCounts(left: ClassCounts, right: ClassCounts): ClassCounts {
  const sum = noMembers();
  for (const name of MEMBER_CLASSES) sum[name] = left[name] + right[name];
  return sum;
}

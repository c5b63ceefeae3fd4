import type { Assignment, Evidence, ReasonCode } from "@muto/spec";
import { announceOptions } from "./announcing.ts";
import { findMisfit } from "./compatibility.ts";
import type { Desired } from "./desired.ts";
import { LIMITS } from "./limits.ts";
import { holding, onAssignment } from "./holding.ts";
import type { Observed } from "./observed.ts";
import { settledStep } from "./plan-settled.ts";
import { fetching, preparationOf } from "./preparing.ts";
import { hasRoomToFail, isBarred, nextAttempt, type Quarantined, type SetRef, type Trial } from "./state.ts";
import { isFreshlyVerified, isTargetVerified } from "./verified.ts";
import type { ChangeAct, GateNeed, Hold, Step, VerifyAct, WakeWhen } from "./step.ts";

/**
 * The way from a new assignment to the moment before the old stack is stopped. Everything up to the gates happens as soon as
 * it can, beside whatever runs, so that a vehicle that loses its network in the evening still converges at night.
 */
export function planChange(desired: Desired, observed: Observed): readonly Step[] {
  const options = planWanted(desired, observed);
  // An announcement stands only while the change that it announces is the next thing to happen (H5).
  const isUnderWay = options[0]?.kind === "switch";
  if (observed.seen.announced === null || isUnderWay || isAwaitingAcknowledgement(options)) return options;
  return [switching({ do: "withdraw" }), ...options];
}

function isAwaitingAcknowledgement(options: readonly Step[]): boolean {
  const [first] = options;
  return first?.kind === "hold" && first.phase === "gate" && first.status === "applying";
}

function planWanted(desired: Desired, observed: Observed): readonly Step[] {
  const { assignment } = desired;
  const { state } = observed;
  if (assignment === null) return settledStep(observed);
  const wanted = assignment.stack.manifestDigest;
  if (state.active?.manifestDigest === wanted) return settledStep(observed);
  if (isBarred(state, wanted)) return [barredHold(state, wanted)];
  if (!hasRoomToFail(state, wanted)) return [fullHold(state)];
  const { release } = desired;
  if (!release.ok) return [holding("failed", "verify", [release.reasonCode], release.evidence, onAssignment())];
  return planPreparation(assignment, desired, observed);
}

/** Fetch, judge, download, stage. Nothing that runs is touched. */
function planPreparation(assignment: Assignment, desired: Desired, observed: Observed): readonly Step[] {
  const set = setOf(assignment);
  const known = observed.releases.get(set.manifestDigest);
  if (known === undefined) return fetching(set, observed);
  const misfit = findMisfit(assignment, known.manifest, desired, observed.state);
  if (misfit !== null) return [holding("failed", "verify", misfit.reasons, misfit.evidence, onAssignment())];
  const preparing = preparationOf(set, known, observed);
  if (preparing !== undefined) return preparing;
  if (observed.state.staged?.manifestDigest !== set.manifestDigest) return [{ kind: "stage", set }];
  return planStart(assignment, observed);
}

/** The set is staged. What is left asks for permission: of the assignment, of the rollback target, and of the gates. */
function planStart(assignment: Assignment, observed: Observed): readonly Step[] {
  const { state, seen, trustedMs } = observed;
  const set = setOf(assignment);
  if (assignment.start === "withheld") return [holding("pending", "hold", [], [], onAssignment())];
  if (trustedMs >= Date.parse(assignment.startBefore)) return [startExpiredHold(assignment)];
  const target = planTarget(observed);
  if (target !== undefined) return target;
  const trial: Trial = {
    changeId: seen.announced?.changeId ?? observed.nextChangeId,
    set,
    from: state.active,
    phase: "stopping",
    attempt: nextAttempt(state, set.manifestDigest),
    begun: observed.now,
    since: observed.now,
    reboots: 0,
    poweredMs: 0,
    before: seen.announced?.before ?? [],
    timings: state.timings,
  };
  const instanceIds = observed.instances
    .filter((instance) => instance.state.kind === "ended" && instance.state.requested)
    .map((instance) => instance.instanceId);
  // Bytes are hashed once the gates have opened, right before they are needed, and not every time a gate is still closed.
  if (seen.announced !== null && !isFreshlyVerified(observed, set.manifestDigest)) return [verifying(set, "staged")];
  const gated = announceOptions(observed, {
    gate: "switch",
    begin: (act) => switching(act, "switch"),
    ungated: (act) => switching(act),
    advance: { do: "forget", record: { kind: "trial-begun", trial }, instanceIds },
  });
  const wakeWhen: WakeWhen = { afterMs: LIMITS.gateRecheckMs, on: ["gates", "assignment"] };
  return [...gated.before, ...gated.after, holding("blocked", "gate", [], [], wakeWhen)];
}

/**
 * No switch without a way back whose bytes were hashed within a day (H9). A damaged target is mended first, from the cache
 * or the network, while it runs on.
 */
function planTarget(observed: Observed): readonly Step[] | undefined {
  const { state, releases, seen } = observed;
  const { active } = state;
  if (active === null) return undefined;
  const known = releases.get(active.manifestDigest);
  if (known === undefined) return fetching(active, observed);
  const mending = preparationOf(active, known, observed);
  if (mending !== undefined) return mending;
  if (isTargetVerified(observed)) return undefined;
  return seen.damaged.has(active.manifestDigest) ? [{ kind: "stage", set: active }] : [verifying(active, "target")];
}

function setOf({ stack, desiredStateRevision, sequence, repository }: Assignment): SetRef {
  const { name: stackName, version, manifestDigest } = stack;
  return { manifestDigest, stackName, version, desiredStateRevision, sequence, repository };
}

function barredHold(state: Observed["state"], digest: string): Hold {
  const entry = state.quarantine.find(({ manifestDigest }) => manifestDigest === digest);
  const reasons = entry?.reasonCodes ?? [];
  const reasonCode = reasons[0] ?? "APPLY_FAILED";
  const evidence = entry === undefined ? [] : [quarantineEvidence(entry, reasonCode)];
  return holding("failed", "hold", reasons, evidence, onAssignment());
}

/** So many releases failed here that one more could not be remembered; an operator's retry of any of them makes room. */
function fullHold({ quarantine }: Observed["state"]): Hold {
  const reasonCode = "DESIRED_STATE_REJECTED";
  const evidence = quarantine.slice(0, FULL_SHOWN).map((entry) => quarantineEvidence(entry, reasonCode));
  return holding("failed", "hold", [reasonCode], evidence, onAssignment());
}

const FULL_SHOWN = 8;

function quarantineEvidence({ manifestDigest: digest, sinceMs }: Quarantined, reasonCode: ReasonCode): Evidence {
  return { kind: "quarantine", reasonCode, digest, since: new Date(sinceMs).toISOString() };
}

/** The control plane renews expired assignments at contact while they are wanted, so this waits rather than fails. */
function startExpiredHold({ stack, sequence }: Assignment): Hold {
  const reasonCode = "DESIRED_STATE_REJECTED";
  const digest = stack.manifestDigest;
  const evidence: Evidence = { kind: "verification", reasonCode, problem: "start-expired", digest, sequence };
  return holding("blocked", "hold", [reasonCode], [evidence], onAssignment());
}

function verifying(set: SetRef, role: VerifyAct["role"]): Step {
  return { kind: "switch", gate: "none", act: { do: "verify", set, role } };
}

function switching(act: ChangeAct, gate: GateNeed = "none"): Step {
  return { kind: "switch", gate, act };
}

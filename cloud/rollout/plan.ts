import type {
  Compatibility,
  Facts,
  Policy,
  ReasonCode,
  RefusingVehicle,
  RolloutConflict,
  RolloutGroup,
  RolloutSettings,
  SafetySnapshot,
  VehicleSummary,
} from "@muto/spec";
import type { Cast } from "./gate.ts";
import { refusingGates } from "./refusing.ts";

/*
 * Who gets a release, and in which stage. Planning is repeatable: the same fleet gives the same plan, because every tie is
 * broken by vehicle id.
 */

/** One vehicle that the target resolved to. */
export interface Candidate {
  readonly vehicleId: string;
  readonly region: string | null;
  readonly model: string | null;
  readonly facts: Facts;
  readonly online: boolean;
  readonly convergence: VehicleSummary["convergence"];
  /** The vehicle says that it could go back; null when it has not said so lately. */
  readonly rollbackReady: boolean | null;
  /** Its stack does not keep every expectation, so that a failure of the next one would prove little. */
  readonly drifting: boolean;
  readonly safety: SafetySnapshot | null;
  readonly safetyAt: string | null;
  readonly committedDigest: string | null;
  readonly desiredDigest: string | null;
  readonly excluded: boolean;
  /** The unfinished rollout that claims the vehicle (H27). */
  readonly rolloutId: string | null;
}

export interface PlanRequest {
  readonly digest: string;
  readonly compatibility: Compatibility;
  readonly diskMbMin: number;
  readonly policy: Policy;
  readonly settings: Pick<RolloutSettings, "canaryPerGroup" | "wavePercent">;
  /** Members of this rollout are no conflict: the new one ends it. */
  readonly supersedes: string | null;
  readonly nowMs: number;
}

export interface PlannedMember {
  readonly vehicleId: string;
  readonly region: string;
  readonly model: string;
  /** Null outside the wave's percentage: never assigned, never counted, not claimed. */
  readonly stage: Cast | null;
  readonly rank: number;
}

export interface Plan {
  readonly members: readonly PlannedMember[];
  readonly groups: readonly RolloutGroup[];
  readonly incompatible: readonly { readonly vehicleId: string; readonly reasonCode: ReasonCode }[];
  readonly alreadyConverged: readonly string[];
  readonly excluded: readonly string[];
  /** Members with nothing else committed, which a rollback could not take anywhere. */
  readonly withoutReturn: readonly string[];
  readonly refusing: readonly RefusingVehicle[];
  readonly conflicts: readonly RolloutConflict[];
}

const UNKNOWN_TAG = "unknown";

/** Sorts the candidates into canaries, wave and those left alone. */
export function planRollout(request: PlanRequest, candidates: readonly Candidate[]): Plan {
  const sorted = candidates.toSorted(byId);
  const excluded = sorted.filter((each) => each.excluded);
  const included = sorted.filter((each) => !each.excluded);
  const incompatible = included.flatMap((each) => {
    const reasonCode = incompatibility(request.compatibility, each);
    return reasonCode === undefined ? [] : [{ vehicleId: each.vehicleId, reasonCode }];
  });
  const unfit = new Set(incompatible.map(({ vehicleId }) => vehicleId));
  const fit = included.filter((each) => !unfit.has(each.vehicleId));
  const done = fit.filter((each) => hasArrived(each, request.digest));
  const wanting = fit.filter((each) => !hasArrived(each, request.digest));

  const groups = [...groupBy(wanting)].map(([, members]) => planGroup(members, request));
  const members = groups.flatMap((group) => group.members).toSorted(byId);
  const claimed = new Set(members.flatMap((each) => (each.stage === null ? [] : [each.vehicleId])));
  const claimants = wanting.filter((each) => claimed.has(each.vehicleId));
  return {
    members,
    groups: groups.map(({ group }) => group),
    incompatible,
    alreadyConverged: ids(done),
    excluded: ids(excluded),
    withoutReturn: ids(
      claimants.filter((each) => each.committedDigest === null || each.committedDigest === request.digest),
    ),
    refusing: claimants.flatMap((each) => {
      const reasonCodes = refusingGates(request, each);
      return reasonCodes.length === 0 ? [] : [{ vehicleId: each.vehicleId, reasonCodes, asOf: each.safetyAt }];
    }),
    conflicts: claimants.flatMap(({ vehicleId, rolloutId }) =>
      rolloutId === null || rolloutId === request.supersedes ? [] : [{ vehicleId, rolloutId }],
    ),
  };
}

/**
 * Others of the same groups for canaries that gave no answer, one for one where the group has any. `spare` are wave members
 * that were never assigned. Keys are the canaries replaced, values their successors.
 */
export function replaceCanaries(
  unanswered: readonly Pick<PlannedMember, "vehicleId" | "region" | "model">[],
  spare: readonly Candidate[],
): ReadonlyMap<string, string> {
  const byGroup = groupBy(spare);
  const replaced = new Map<string, string>();
  const queues = new Map([...byGroup].map(([key, members]) => [key, members.toSorted(byFitness("")).values()]));
  for (const canary of unanswered.toSorted(byId)) {
    const next = queues.get(groupKey(canary))?.next();
    if (next !== undefined && next.done !== true) replaced.set(canary.vehicleId, next.value.vehicleId);
  }
  return replaced;
}

/** What the control plane knows speaks against the release; what it does not know is the vehicle's own to judge (H17). */
export function incompatibility(wanted: Compatibility, vehicle: Candidate): ReasonCode | undefined {
  const misses = (allowed: readonly string[], seen: string | null | undefined) =>
    allowed.length > 0 && seen !== null && seen !== undefined && !allowed.includes(seen);
  if (misses(wanted.vehicleModels, vehicle.model)) return "INCOMPATIBLE_MODEL";
  if (misses(wanted.os, vehicle.facts.os)) return "INCOMPATIBLE_OS";
  if (misses(wanted.rosDistro, vehicle.facts.rosDistro)) return "INCOMPATIBLE_ROS";
  return undefined;
}

/** The vehicle runs the release, and nothing else is wanted of it. */
function hasArrived(vehicle: Candidate, digest: string): boolean {
  return vehicle.convergence === "converged" && vehicle.committedDigest === digest && vehicle.desiredDigest === digest;
}

interface PlannedGroup {
  readonly group: RolloutGroup;
  readonly members: readonly PlannedMember[];
}

function planGroup(vehicles: readonly Candidate[], request: PlanRequest): PlannedGroup {
  const { canaryPerGroup, wavePercent } = request.settings;
  const canaries = vehicles.toSorted(byFitness(request.digest)).slice(0, canaryPerGroup);
  const chosen = new Set(ids(canaries));
  const others = vehicles.filter((each) => !chosen.has(each.vehicleId));
  const waveSize = Math.ceil((others.length * wavePercent) / 100);
  const member = (vehicle: Candidate, stage: Cast | null, rank: number): PlannedMember => ({
    vehicleId: vehicle.vehicleId,
    region: vehicle.region ?? UNKNOWN_TAG,
    model: vehicle.model ?? UNKNOWN_TAG,
    stage,
    rank,
  });
  const members = [
    ...canaries.map((each, rank) => member(each, "canary", rank)),
    ...others.map((each, rank) => member(each, rank < waveSize ? "wave" : null, rank)),
  ];
  const [first] = vehicles;
  return {
    members,
    group: {
      region: first?.region ?? UNKNOWN_TAG,
      model: first?.model ?? UNKNOWN_TAG,
      members: canaries.length + waveSize,
      canaries: ids(canaries).toSorted(),
    },
  };
}

/**
 * Who makes a good canary: within reach, converged and well, able to go back, and not running the release already, because that
 * would prove nothing. Ties by id.
 */
function byFitness(digest: string): (left: Candidate, right: Candidate) => number {
  const points = (each: Candidate) =>
    (each.online ? 16 : 0) +
    (each.committedDigest === digest ? 0 : 8) +
    (each.convergence === "converged" ? 4 : 0) +
    (each.drifting ? 0 : 2) +
    (each.rollbackReady === true ? 1 : 0);
  return (left, right) => points(right) - points(left) || byId(left, right);
}

function groupBy(vehicles: readonly Candidate[]): ReadonlyMap<string, readonly Candidate[]> {
  const groups = new Map<string, Candidate[]>();
  for (const vehicle of vehicles) {
    const key = groupKey(vehicle);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [vehicle]);
    else known.push(vehicle);
  }
  return new Map([...groups].toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

function groupKey(vehicle: { readonly region: string | null; readonly model: string | null }): string {
  return JSON.stringify([vehicle.region ?? UNKNOWN_TAG, vehicle.model ?? UNKNOWN_TAG]);
}

function byId(left: { readonly vehicleId: string }, right: { readonly vehicleId: string }): number {
  if (left.vehicleId === right.vehicleId) return 0;
  return left.vehicleId < right.vehicleId ? -1 : 1;
}

function ids(vehicles: readonly { readonly vehicleId: string }[]): readonly string[] {
  return vehicles.map(({ vehicleId }) => vehicleId);
}

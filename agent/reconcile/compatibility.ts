import type { Assignment, Evidence, ReasonCode, StackManifest } from "@muto/spec";
import { refusedByVehicle } from "./allowance.ts";
import type { Desired, GraphAbility } from "./desired.ts";
import { isGraphProbe } from "./graph-probe.ts";
import type { AgentState } from "./state.ts";

export interface Misfit {
  readonly reasons: readonly ReasonCode[];
  readonly evidence: readonly Evidence[];
}

/**
 * Whether the signed manifest is what the assignment names, is new enough, and fits this vehicle. The facts come from the
 * vehicle's own configuration, never from a tag of the cloud (H17). Recomputed at every pass, so that a refusal lasts
 * exactly while its inputs are unchanged (H14). Null when nothing is wrong.
 */
export function findMisfit(
  assignment: Assignment,
  manifest: StackManifest,
  { vehicle, runtime, graph }: Pick<Desired, "vehicle" | "runtime" | "graph">,
  state: AgentState,
): Misfit | null {
  const evidence = [
    ...mismatch(assignment, manifest),
    ...epochTooOld(assignment, manifest, state.floors.epoch),
    ...lacking("INCOMPATIBLE_MODEL", "model", manifest.compatibility.vehicleModels, vehicle.model),
    ...lacking("INCOMPATIBLE_OS", "os", manifest.compatibility.os, vehicle.os),
    ...lacking("INCOMPATIBLE_ROS", "rosDistro", manifest.compatibility.rosDistro, vehicle.rosDistro),
    ...notGiven(manifest, runtime),
    ...notSeen(manifest, graph),
  ];
  if (evidence.length === 0) return null;
  return { reasons: [...new Set(evidence.map(({ reasonCode }) => reasonCode))], evidence };
}

/** Mix-and-match attack: an assignment that names one release and points at the bytes of another. */
function mismatch({ stack, sequence }: Assignment, manifest: StackManifest): readonly Evidence[] {
  if (stack.name === manifest.name && stack.version === manifest.version) return [];
  return [
    {
      kind: "verification",
      reasonCode: "DESIRED_STATE_REJECTED",
      problem: "manifest-mismatch",
      digest: stack.manifestDigest,
      sequence,
    },
  ];
}

/** A release that is older than the last security boundary that was committed here. */
function epochTooOld({ stack }: Assignment, manifest: StackManifest, floor: number): readonly Evidence[] {
  if (manifest.securityEpoch >= floor) return [];
  const { manifestDigest: digest } = stack;
  return [{ kind: "verification", reasonCode: "DESIRED_STATE_REJECTED", problem: "epoch-too-old", digest, floor }];
}

/** What the release asks of the computer and its owner does not give; nothing of it is even downloaded. */
function notGiven(manifest: StackManifest, runtime: Desired["runtime"]): readonly Evidence[] {
  const asked = [...new Set(refusedByVehicle(manifest, runtime).map((refusal) => refusal.asked))];
  if (asked.length === 0) return [];
  return [
    { kind: "compatibility", reasonCode: "DESIRED_STATE_REJECTED", fact: "runtime", required: asked, seen: null },
  ];
}

/**
 * Probes that nothing on this vehicle could ever meet: it would be taken out of service for `readinessTimeoutSec` and brought
 * back, to no end. A provider of the graph that is configured and silent is another matter; it may speak once the stack runs.
 */
function notSeen({ healthModel }: StackManifest, graph: GraphAbility): readonly Evidence[] {
  const asksService = healthModel.probes.some(({ kind }) => kind === "service");
  const asksGraph = healthModel.probes.some((probe) => isGraphProbe(probe));
  const required = [
    ...(asksGraph && graph === "none" ? ["ros graph"] : []),
    ...(asksService && graph !== "full" ? ["ros services"] : []),
  ];
  if (required.length === 0) return [];
  return [{ kind: "compatibility", reasonCode: "DESIRED_STATE_REJECTED", fact: "runtime", required, seen: null }];
}

function lacking(
  reasonCode: ReasonCode,
  fact: "model" | "os" | "rosDistro",
  required: readonly string[],
  seen: string,
): readonly Evidence[] {
  if (required.length === 0 || required.includes(seen)) return [];
  return [{ kind: "compatibility", reasonCode, fact, required, seen }];
}

import type { AgentConfig, Assignment, Evidence, ReasonCode } from "@muto/spec";
import type { AgentState, Refusal } from "./state.ts";

/** What the cloud wants of this vehicle, and what the vehicle's own configuration says that it is. */
export interface Desired {
  readonly vehicle: AgentConfig["vehicle"];
  /** What runs workloads here, and what they may have of the computer. */
  readonly runtime: AgentConfig["runtime"];
  /** What this vehicle can see of a ROS graph; from its configuration as well. */
  readonly graph: GraphAbility;
  /** The newest authentic assignment; null before the first. */
  readonly assignment: Assignment | null;
  /** Whether a release key that the vehicle trusts signed the assigned manifest digest, under today's trust root. */
  readonly release: ReleaseVerdict;
  readonly refusal: Refusal | null;
}

export type ReleaseVerdict =
  | { readonly ok: true }
  | { readonly ok: false; readonly reasonCode: ReasonCode; readonly evidence: readonly Evidence[] };

export function desiredOf(
  state: AgentState,
  { vehicle, runtime }: Pick<AgentConfig, "vehicle" | "runtime">,
  graph: GraphAbility,
  release: ReleaseVerdict,
): Desired {
  return { vehicle, runtime, graph, assignment: state.accepted?.assignment ?? null, release, refusal: state.refusal };
}

/** `read-only`: nodes, topics, states and diagnostics, and no services. */
export type GraphAbility = "none" | "read-only" | "full";

/** The release that is wanted, whether or not it may be had. */
export function wantedDigest(desired: Desired): string | null {
  return desired.assignment?.stack.manifestDigest ?? null;
}

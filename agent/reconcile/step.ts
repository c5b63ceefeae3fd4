import type { Evidence, ReasonCode, ReconcileReport } from "@muto/spec";
import type { JournalRecord } from "./records.ts";
import type { ExitNote, SetRef } from "./state.ts";

/**
 * The one thing to do next; a closed union. A step is small enough that the world can be looked at again after it. What it
 * intends is durable before it touches anything: either the state says so already, or the step is that record.
 *
 * fetchRelease  get the release's OCI manifest and stack manifest
 * download      get the next missing artifact
 * stage         prepare a set from verified artifacts, beside whatever runs
 * switch        leave the old set for the staged one, act by act
 * probe         look once at the probes of the set that should become ready
 * commit        the trial is over: the set on trial becomes active
 * rollback      leave a failed set for the good one, act by act
 * restart       repair of the selected set: note an exit, start what is dead, stop what hangs
 * clean         forget ended instances, remove sets and artifacts that nothing needs
 * hold          something is wanted and cannot be done now; always says why and what would end it
 * settled       nothing is wanted
 */
export type Step =
  | { readonly kind: "fetchRelease"; readonly repository: string; readonly digest: string }
  | { readonly kind: "download"; readonly repository: string; readonly digest: string; readonly blob: BlobRef }
  | { readonly kind: "stage"; readonly set: SetRef }
  | { readonly kind: "switch"; readonly gate: GateNeed; readonly act: ChangeAct | VerifyAct }
  | { readonly kind: "probe"; readonly set: SetRef }
  | { readonly kind: "commit"; readonly record: JournalRecord }
  | { readonly kind: "rollback"; readonly gate: GateNeed; readonly act: ChangeAct }
  | { readonly kind: "restart"; readonly gate: GateNeed; readonly act: RepairAct }
  | { readonly kind: "clean"; readonly gate: GateNeed; readonly act: CleanAct }
  | Hold
  | { readonly kind: "settled"; readonly wakeWhen: WakeWhen };

export type StepOf<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

/**
 * What must be open at the last instant. `switch`: every gate, for a change that nobody is forced to make. `stop`: motion,
 * mode and hold, for stopping what runs or starting other software in a repair or a rollback (H3, H4). `none`: nothing
 * that runs is touched, or a stop that has begun is carried to its end.
 */
export type GateNeed = "none" | "switch" | "stop";

export function gateOf(step: Step): GateNeed {
  switch (step.kind) {
    case "switch":
    case "rollback":
    case "restart":
    case "clean":
      return step.gate;
    case "fetchRelease":
    case "download":
    case "stage":
    case "probe":
    case "commit":
    case "hold":
    case "settled":
      return "none";
  }
}

export interface BlobRef {
  readonly digest: string;
  readonly sizeBytes: number;
}

export type ChangeAct =
  /** Tell the vehicle that its stack is about to be changed (H5). */
  | { readonly do: "announce" }
  /** Nothing was stopped and nothing will be for now: take the announcement back. */
  | { readonly do: "withdraw" }
  /** Only make a decision durable. */
  | { readonly do: "record"; readonly record: JournalRecord }
  /** The same, and then drop the records of ended instances, which the decision no longer needs. */
  | { readonly do: "forget"; readonly record: JournalRecord; readonly instanceIds: readonly string[] }
  | { readonly do: "stop"; readonly instanceId: string; readonly set: string; readonly workload: string }
  | { readonly do: "start"; readonly set: SetRef; readonly workload: string }
  /** Keep the tails of what the workloads last said, then make the decision durable. */
  | { readonly do: "fail"; readonly record: Extract<JournalRecord, { kind: "rollback-begun" }> };

/** Hash the bytes of a set again before they are relied on (H9). */
export interface VerifyAct {
  readonly do: "verify";
  readonly set: SetRef;
  readonly role: "target" | "staged";
}

export type RepairAct =
  | { readonly do: "note"; readonly exit: ExitNote }
  | { readonly do: "start"; readonly set: SetRef; readonly workload: string }
  /** Runs and does not answer its liveness probes (H24), which is noted first; or does not become ready, which is not. */
  | {
      readonly do: "stop";
      readonly instanceId: string;
      readonly set: string;
      readonly workload: string;
      readonly hung?: ExitNote;
    }
  | { readonly do: "record"; readonly record: JournalRecord };

export type CleanAct =
  | { readonly do: "forget"; readonly instanceIds: readonly string[] }
  /** Bears our mark and belongs to no selected set. */
  | { readonly do: "stop-extra"; readonly instanceId: string; readonly set: string; readonly workload: string }
  | { readonly do: "record"; readonly record: JournalRecord }
  /** Everything on the disk that is not in one of these sets goes. */
  | { readonly do: "sweep"; readonly keep: readonly string[] };

export interface Hold {
  readonly kind: "hold";
  readonly status: ReconcileReport["status"];
  readonly phase: ReconcileReport["phase"];
  readonly reasons: readonly ReasonCode[];
  readonly evidence: readonly Evidence[];
  readonly wakeWhen: WakeWhen;
}

/** What would end a hold. Whatever else rings, the world is looked at again after `afterMs`. */
export interface WakeWhen {
  readonly afterMs: number;
  readonly on: readonly ("assignment" | "gates" | "runtime" | "disk" | "network" | "configuration" | "storage")[];
}

import type { Evidence, ProbeProblem, StackManifest, StorageEvidence } from "@muto/spec";
import type { Instance, ProbeSeen } from "../ports.ts";
import type { GateVerdict } from "../safety/gates.ts";
import type { BlobRef } from "./step.ts";
import type { AgentState, Instant, ProbeBefore } from "./state.ts";

/** The world as one pass sees it. Nothing in here was decided; all of it was looked at, or is durable. */
export interface Observed {
  readonly now: Instant;
  /** Judged by signed documents as much as by the clock; expiry is measured against this. */
  readonly trustedMs: number;
  /** A ULID that names the next change, should this pass begin one. */
  readonly nextChangeId: string;
  readonly state: AgentState;
  /** `faulted`: nothing can be made durable any more. */
  readonly storage: "sound" | "faulted";
  /** Releases whose stack manifest is here and was verified, by manifest digest. */
  readonly releases: ReadonlyMap<string, KnownRelease>;
  readonly instances: readonly Instance[];
  readonly seen: Seen;
  readonly metered: boolean;
  readonly acknowledgement: Acknowledgement;
  readonly disk: { readonly freeMb: number | null; readonly reserveMb: number };
  /** Undefined while no step asks for gates; a gate that was not evaluated is closed. */
  readonly gates: Gates | undefined;
}

export interface Gates {
  readonly switch: GateVerdict;
  readonly stop: GateVerdict;
}

export interface KnownRelease {
  readonly manifest: StackManifest;
  /** Archives that are not here whole and verified, in the order in which they are fetched. */
  readonly missing: readonly BlobRef[];
  /** Bytes of all archives, here or not. */
  readonly archiveBytes: number;
  /** Whether the set's folder is there, complete. */
  readonly prepared: boolean;
}

export interface Acknowledgement {
  readonly required: boolean;
  readonly timeoutMs: number;
  /** Change id that the vehicle acknowledged last. */
  readonly changeId: string | null;
}

/**
 * What this process saw or tried since it started. Losing it costs a repetition, never a wrong step; times are of the
 * monotonic clock.
 */
export interface Seen {
  readonly download: Trouble | null;
  readonly stage: Trouble | null;
  /** Starts that failed, by workload. */
  readonly starts: ReadonlyMap<string, Trouble>;
  /** Stops that did not end an instance, by instance. */
  readonly stops: ReadonlyMap<string, Trouble>;
  readonly announced: Announced | null;
  /** An acknowledgement that never came: when to ask again. */
  readonly unacknowledged: Trouble | null;
  /** The vehicle could not be told of a change, or of its end: when to try again. */
  readonly untold: Trouble | null;
  /** The change whose first stop was made by this process, so that what follows is carried to its end. */
  readonly stopping: string | null;
  /** When the bytes of a set were last hashed and found whole, by manifest digest. */
  readonly verifiedMs: ReadonlyMap<string, number>;
  /** Sets whose bytes were found wrong. */
  readonly damaged: ReadonlySet<string>;
  /** Wall time at which that was noticed, by manifest digest. */
  readonly damagedSince: ReadonlyMap<string, number>;
  /** Releases whose manifests are here and cannot be read just now, by manifest digest. */
  readonly unreadable: ReadonlyMap<string, Unreadable>;
  readonly probes: ProbeSightings;
  /** How the set that became ready keeps what its probes expect. */
  readonly upkeep: Upkeep;
  /** When the graph last said that something came or went; null before. */
  readonly graphChangedMs: number | null;
  readonly swept: string | null;
}

export interface Trouble {
  /** What the trouble is about: a digest, a change. */
  readonly subject: string;
  readonly attempts: number;
  readonly retryAtMs: number;
  /** Final for these bytes: trying again cannot help. */
  readonly final: boolean;
  readonly evidence: readonly Evidence[];
}

export interface Unreadable {
  readonly sinceMs: number;
  readonly evidence: StorageEvidence;
}

export interface Announced {
  readonly changeId: string;
  readonly atMs: number;
  readonly before: readonly ProbeBefore[];
}

export interface ProbeSightings {
  /** Manifest digest of the set that these are about; null before the first look. */
  readonly set: string | null;
  readonly lookedMs: number;
  /** Since when all readiness probes have been met without a break; null when they are not. */
  readonly readySinceMs: number | null;
  readonly looks: number;
  readonly byName: ReadonlyMap<string, ProbeSighting>;
}

export interface ProbeSighting {
  /** The instance that was looked at; what was seen of an earlier one says nothing. */
  readonly instanceId: string | null;
  readonly last: ProbeSeen;
  readonly looks: number;
  /** Looks in a row that it was not met, though it could be looked at. */
  readonly misses: number;
  /** When the first of them was made. */
  readonly missedSinceMs: number | null;
  /** Since when it has not been met, for whatever reason; null while it is. */
  readonly unmetSinceMs: number | null;
}

/** Watches over one set from its readiness on; another set begins anew. */
export interface Upkeep {
  /** Manifest digest; null while no ready set is watched. */
  readonly set: string | null;
  readonly expectations: ReadonlyMap<string, Expectation>;
}

/** One probe of the set, over time. Instants of the monotonic clock, but for those that are told. */
export interface Expectation {
  readonly firstMs: number;
  readonly lookedMs: number;
  /** It has been met since this set is watched, or was when it became ready; before that it has the set's readiness time. */
  readonly wasMet: boolean;
  /** Null while it is met. */
  readonly problem: ProbeProblem | null;
  /** How much of the debounce is used up. */
  readonly missedMs: number;
  readonly missedSinceWallMs: number | null;
  readonly metSinceMs: number | null;
  /** Since when it counts as drift; null when it does not. */
  readonly driftSinceWallMs: number | null;
  /** It has been watched for long enough to say one or the other. */
  readonly judged: boolean;
}

export const NO_SIGHTINGS: ProbeSightings = {
  set: null,
  lookedMs: Number.NEGATIVE_INFINITY,
  readySinceMs: null,
  looks: 0,
  byName: new Map(),
};

export const NO_UPKEEP: Upkeep = { set: null, expectations: new Map() };

export const NOTHING_SEEN: Seen = {
  download: null,
  stage: null,
  starts: new Map(),
  stops: new Map(),
  announced: null,
  unacknowledged: null,
  untold: null,
  stopping: null,
  verifiedMs: new Map(),
  damaged: new Set(),
  damagedSince: new Map(),
  unreadable: new Map(),
  probes: NO_SIGHTINGS,
  upkeep: NO_UPKEEP,
  graphChangedMs: null,
  swept: null,
};

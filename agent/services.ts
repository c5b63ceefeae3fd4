import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { RegistryClient } from "@muto/oci/client";
import type { AgentConfig, Assignment, AssignmentOffer, Evidence, ReasonCode } from "@muto/spec";
import type { Cleaned } from "./cache/sets.ts";
import type { ContentStore } from "./cache/content-store.ts";
import type { UnsentReport } from "./link/outbox.ts";
import type { ChangeFlag, GraphReader, Prober, Runtime, SetOnDisk, SignalReader } from "./ports.ts";
import type { ReleaseVerdict } from "./reconcile/desired.ts";
import type { JournalRecord } from "./reconcile/records.ts";
import type { AgentState } from "./reconcile/state.ts";

/** What the loop and its effects work with; main.ts or a simulator puts it together. */
export interface AgentServices {
  readonly config: AgentConfig;
  readonly bootId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly runtime: Runtime;
  readonly prober: Prober;
  readonly graph: GraphReader | undefined;
  readonly signals: SignalReader;
  readonly changeFlag: ChangeFlag;
  readonly store: StateKeeper;
  readonly content: ContentStore;
  /** Undefined where the vehicle has no registry: releases then come by bundle only. */
  readonly registry: Pick<RegistryClient, "pullManifest" | "pullBlob"> | undefined;
  readonly sets: SetFolders;
  readonly reports: ReportSink;
  readonly verifier: OfferVerifier;
}

/** The durable state and the one way to change it. */
export interface StateKeeper {
  readonly state: AgentState;
  /** Durable when it resolves; rejects with a JournalError. */
  record(record: JournalRecord): Promise<void>;
  /** Set once the disk failed. */
  readonly fault: Error | undefined;
}

export interface SetFolders {
  folderOf(manifestDigest: string): SetOnDisk["folder"];
  /** Removes every set and blob that none of these needs. */
  sweep(keep: readonly string[], blobsOf: (digest: string) => Promise<readonly string[] | undefined>): Promise<Cleaned>;
  freeBytes(): Promise<number>;
}

export interface ReportSink {
  append(report: UnsentReport): Promise<"queued" | "merged" | "full">;
}

/** Judges an offer as trust demands; pure behind the port, so that a simulator may swap the keys and nothing else. */
export interface OfferVerifier {
  /** Hash of the trust root; a refusal made under another one is void. */
  readonly trustHash: string;
  /** Of all of its bytes, signatures included. */
  hashOf(offer: AssignmentOffer): string;
  /** Of what is signed alone: anybody on the way can change the rest. */
  payloadHashOf(offer: AssignmentOffer): string;
  verify(offer: AssignmentOffer, known: KnownOfOffers): OfferVerdict;
}

export interface KnownOfOffers {
  /** Sequence floor. */
  readonly sequence: number;
  readonly accepted: AssignmentOffer | null;
  /** The time by which expiry is judged, once the `issuedAt` of a document that verified is known. */
  readonly nowMs: (issuedAtMs: number) => number;
}

export type OfferVerdict =
  /** Authentic and for this vehicle. `release`: whether a trusted release key signed the manifest digest that it names. */
  | { readonly ok: true; readonly assignment: Assignment; readonly release: ReleaseVerdict }
  | {
      readonly ok: false;
      readonly reasonCode: ReasonCode;
      readonly evidence: readonly Evidence[];
      /** Named by a document that verified; null when nothing did. */
      readonly sequence: number | null;
      readonly desiredStateRevision: string | null;
    };

import type { Clock } from "@muto/kit/clock";
import type { HttpClient } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { ArtifactRef, ReleaseSignature, StackManifest, TrustRole } from "@muto/spec";
import type { Signer } from "@muto/trust/keys";
import type { Database } from "./store/database.ts";

/** Everything the control plane needs of the world. main.ts wires the real ones; tests and the simulator replace them. */
export interface CloudPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly http: HttpClient;
  readonly logger: Logger;
  readonly database: Database;
  /** The online key: it says which release a vehicle should run, and can never say what a release is. */
  readonly assignmentSigner: Signer;
  readonly releaseSource: ReleaseSource;
  readonly broker: BrokerControl;
}

/** What the control plane is told at its start and never changes while it runs. */
export interface CloudConfig {
  readonly tenant: string;
  readonly version: string;
  /** Silence after which a vehicle counts as offline. */
  readonly offlineAfterMs: number;
  /** Keys whose signatures make a release one that vehicles accept; the public part of the vehicles' own roots. */
  readonly releaseRole: TrustRole;
  readonly people: PeopleConfig;
}

/** How people and their programs prove who they are. Tokens are kept as SHA-256 only. */
export interface PeopleConfig {
  readonly tokens: readonly StaticToken[];
  readonly oidc: OidcConfig | undefined;
}

export interface StaticToken {
  /** Name for the audit log, `[!-~]{1,200}`. */
  readonly name: string;
  readonly role: "operator" | "viewer";
  /** SHA-256 of the token in hexadecimal. */
  readonly sha256: string;
}

export interface OidcConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUrl: string;
  /** Claim that holds `operator` or `viewer`, or a list with one of them. */
  readonly roleClaim: string;
}

/** Looks a release up in the registry when it is posted, and never again: what it found is stored and handed out. */
export interface ReleaseSource {
  look(repository: string, manifestDigest: string, signal: AbortSignal): Promise<ReleaseLookup>;
  /** True when the registry answers. */
  alive(signal: AbortSignal): Promise<boolean>;
}

export type ReleaseLookup =
  | {
      readonly ok: true;
      readonly manifest: StackManifest;
      /** The images and archives that workloads run from; what the images are made of is not repeated. */
      readonly artifacts: readonly ArtifactRef[];
      readonly signatures: readonly ReleaseSignature[];
      /** Where the signature was found; null when there is none. */
      readonly signatureRef: string | null;
      /** Which of the release keys signed this digest; empty when no signature holds. */
      readonly keyids: readonly string[];
      /** True when as many different release keys signed as the role demands. */
      readonly verified: boolean;
    }
  | { readonly ok: false; readonly problem: "not-found" | "unreachable" }
  | { readonly ok: false; readonly problem: "invalid"; readonly details: readonly { path: string; message: string }[] };

/** What the control plane does to the broker beside publishing. All of it is best effort: identity is checked elsewhere. */
export interface BrokerControl {
  state(): "ok" | "unreachable" | "none";
  /** Ends sessions and removes retained messages of a vehicle whose key was revoked. */
  forget(vehicleId: string): Promise<void>;
}

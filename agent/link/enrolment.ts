import { timestamp, type Clock } from "@muto/kit/clock";
import type { Disk } from "@muto/kit/disk";
import { MEDIA_TYPES, type Envelope, type Enrolment, type Facts } from "@muto/spec";
import { signEnvelope } from "@muto/trust/dsse";
import type { Signer } from "@muto/trust/keys";
import { readClaim, type FoundClaim } from "./claim.ts";

export interface EnrolmentOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly tenant: string;
  readonly vehicleId: string;
  readonly facts: Facts;
  /** File with the single-use claim; read anew each time, because a technician may bring another one. */
  readonly claimFile: string | undefined;
  readonly installId: () => string;
  /** The configured file holds no claim: the request goes out without one, and an operator must accept the key. */
  readonly onNoClaim: (path: string, problem: NoClaim) => void;
}

export type NoClaim = Extract<FoundClaim, { kind: "none" }>["problem"];

/** The vehicle proves its key and asks to be known by it; with a claim at once, without one when an operator accepts. */
export async function makeEnrolment(options: EnrolmentOptions): Promise<Envelope> {
  const enrolment = await withClaim(plainEnrolment(options), options);
  return signEnvelope(MEDIA_TYPES.enrolment, new TextEncoder().encode(JSON.stringify(enrolment)), [options.signer]);
}

/** What a vehicle says of itself when it has no claim. */
export function plainEnrolment({
  clock,
  signer,
  tenant,
  vehicleId,
  facts,
  installId,
}: Pick<EnrolmentOptions, "clock" | "signer" | "tenant" | "vehicleId" | "facts" | "installId">): Enrolment {
  return {
    kind: "muto.enrolment/v1",
    tenant,
    vehicleId,
    publicKey: signer.publicKey.pem,
    installId: installId(),
    at: timestamp(clock.wallMs()),
    facts,
  };
}

/** A file that holds no claim is left out, or the whole request would be refused; an operator can still accept the key. */
async function withClaim(plain: Enrolment, { disk, claimFile, onNoClaim }: EnrolmentOptions): Promise<Enrolment> {
  if (claimFile === undefined) return plain;
  const found = await readClaim(disk, claimFile, plain);
  if (found.kind === "claim") return { ...plain, claim: found.claim };
  onNoClaim(claimFile, found.problem);
  return plain;
}

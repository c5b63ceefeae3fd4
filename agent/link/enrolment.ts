import { timestamp, type Clock } from "@muto/kit/clock";
import { DiskError, type Disk } from "@muto/kit/disk";
import { MEDIA_TYPES, parseEnrolment, type Envelope, type Enrolment, type Facts } from "@muto/spec";
import { signEnvelope } from "@muto/trust/dsse";
import type { Signer } from "@muto/trust/keys";

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
}

const CLAIM_BYTES_MAX = 512;

/** The vehicle proves its key and asks to be known by it; with a claim at once, without one when an operator accepts. */
export async function makeEnrolment(options: EnrolmentOptions): Promise<Envelope> {
  const { clock, signer, tenant, vehicleId, facts, installId } = options;
  const claim = await readClaim(options);
  const plain: Enrolment = {
    kind: "muto.enrolment/v1",
    tenant,
    vehicleId,
    publicKey: signer.publicKey.pem,
    installId: installId(),
    at: timestamp(clock.wallMs()),
    facts,
  };
  // A claim that is no claim would have the whole request refused; without it an operator can still accept the key.
  const claimed = parseEnrolment({ ...plain, claim });
  const enrolment = claim !== undefined && claimed.ok ? claimed.value : plain;
  return signEnvelope(MEDIA_TYPES.enrolment, new TextEncoder().encode(JSON.stringify(enrolment)), [signer]);
}

/** A claim that is gone, used up or unreadable is no obstacle: an operator can accept the key. */
async function readClaim({ disk, claimFile }: EnrolmentOptions): Promise<string | undefined> {
  if (claimFile === undefined) return undefined;
  try {
    const found = await disk.stat(claimFile);
    if (found === undefined || found.sizeBytes > CLAIM_BYTES_MAX) return undefined;
    const text = new TextDecoder().decode(await disk.read(claimFile)).trim();
    return text === "" ? undefined : text;
  } catch (error) {
    if (error instanceof DiskError) return undefined;
    throw error;
  }
}

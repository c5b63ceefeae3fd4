import { DiskError, type Disk } from "@muto/kit/disk";
import { parseEnrolment, type Enrolment } from "@muto/spec";

/** What is in a vehicle's claim file: a claim, or why there is none. */
export type FoundClaim =
  | { readonly kind: "claim"; readonly claim: string }
  | { readonly kind: "none"; readonly problem: "missing" | "unreadable" | "malformed" };

const CLAIM_BYTES_MAX = 512;

/** Reads the file that `cloud.claimFile` names. A claim is what the contract takes as one in `enrolment`, and nothing else. */
export async function readClaim(disk: Disk, path: string, enrolment: Enrolment): Promise<FoundClaim> {
  try {
    const found = await disk.stat(path);
    if (found === undefined) return { kind: "none", problem: "missing" };
    if (found.kind === "folder") return { kind: "none", problem: "unreadable" };
    if (found.sizeBytes > CLAIM_BYTES_MAX) return { kind: "none", problem: "malformed" };
    const claim = new TextDecoder().decode(await disk.read(path)).trim();
    return parseEnrolment({ ...enrolment, claim }).ok
      ? { kind: "claim", claim }
      : { kind: "none", problem: "malformed" };
  } catch (error) {
    if (error instanceof DiskError) return { kind: "none", problem: "unreadable" };
    throw error;
  }
}

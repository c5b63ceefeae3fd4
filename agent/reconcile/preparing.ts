import type { ReasonCode } from "@muto/spec";
import { refuseDisk } from "../safety/gates.ts";
import { holding, onAssignment } from "./holding.ts";
import { LIMITS } from "./limits.ts";
import type { KnownRelease, Observed, Trouble } from "./observed.ts";
import type { SetRef } from "./state.ts";
import type { Hold, Step, WakeWhen } from "./step.ts";

/** The steps that are left until a set is prepared; undefined when it is. Also used to mend a damaged rollback target. */
export function preparationOf(set: SetRef, known: KnownRelease, observed: Observed): readonly Step[] | undefined {
  const { damaged } = observed.seen;
  const isWhole = known.prepared && !damaged.has(set.manifestDigest);
  if (isWhole) return undefined;
  const refused = storageHold(set, observed);
  if (refused !== undefined) return [refused];
  const tight = refuseDisk({ freeMb: observed.disk.freeMb, neededMb: neededMb(known) }, observed.disk.reserveMb);
  if (tight.length > 0) {
    const evidence = tight.map((refusal) => refusal.evidence);
    const wakeWhen: WakeWhen = { afterMs: LIMITS.diskRecheckMs, on: ["disk", "assignment"] };
    return [holding("blocked", "download", ["INSUFFICIENT_DISK"], evidence, wakeWhen)];
  }
  const blob = known.missing[0];
  if (blob === undefined) return [{ kind: "stage", set }];
  const wait = networkHold(observed, set.manifestDigest);
  if (wait !== undefined) return [wait];
  return [{ kind: "download", repository: set.repository, digest: set.manifestDigest, blob }];
}

export function fetching(set: SetRef, observed: Observed): readonly Step[] {
  const wait = unreadHold(set, observed) ?? storageHold(set, observed) ?? networkHold(observed, set.manifestDigest);
  if (wait !== undefined) return [wait];
  return [{ kind: "fetchRelease", repository: set.repository, digest: set.manifestDigest }];
}

/** It is here, and the disk does not give it out: nobody else can help. */
function unreadHold({ manifestDigest }: SetRef, { seen }: Observed): Hold | undefined {
  const evidence = seen.unreadable.get(manifestDigest)?.evidence;
  if (evidence === undefined) return undefined;
  const wakeWhen: WakeWhen = { afterMs: LIMITS.diskRecheckMs, on: ["disk", "assignment"] };
  return holding("blocked", "verify", [evidence.reasonCode], [evidence], wakeWhen);
}

/** In the middle of a change: it may be readable again in a moment, and until then nothing is decided. */
export function unreadInChange(digest: string, { now, seen }: Observed, phase: Hold["phase"]): Hold | undefined {
  const unread = seen.unreadable.get(digest);
  if (unread === undefined || now.monotonicMs - unread.sinceMs >= LIMITS.unreadableMsMax) return undefined;
  const wakeWhen: WakeWhen = { afterMs: LIMITS.stopRetryMs, on: ["disk", "runtime"] };
  return holding("applying", phase, [], [unread.evidence], wakeWhen);
}

/** Trouble of the network is retried without limit and never leads anywhere but to the next try: nothing has changed yet. */
function networkHold(observed: Observed, digest: string): Hold | undefined {
  const { now, seen, metered } = observed;
  const trouble = seen.download?.subject === digest ? seen.download : null;
  if (trouble !== null && trouble.final) {
    return holding("failed", "download", codesOf(trouble), trouble.evidence, onAssignment());
  }
  if (trouble !== null && trouble.retryAtMs > now.monotonicMs) {
    const wakeWhen: WakeWhen = { afterMs: trouble.retryAtMs - now.monotonicMs, on: ["network", "assignment"] };
    return holding("blocked", "download", codesOf(trouble), trouble.evidence, wakeWhen);
  }
  if (metered) {
    const wakeWhen: WakeWhen = { afterMs: LIMITS.meteredRecheckMs, on: ["gates", "assignment"] };
    return holding("pending", "download", [], [], wakeWhen);
  }
  return undefined;
}

/**
 * What has yet to be written: the missing archives, and an unpacked set of about three times the archives, or what the
 * release itself asks for, whichever is more. Active and previous are on the disk already and are never given up for space.
 */
export function neededMb(known: KnownRelease): number {
  if (known.prepared) return 0;
  const missingBytes = known.missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const hereBytes = known.archiveBytes - missingBytes;
  const declaredBytes = known.manifest.resourceProfile.diskMbMin * MB - hereBytes;
  return Math.ceil(Math.max(declaredBytes, missingBytes + known.archiveBytes * UNPACKED_FACTOR) / MB);
}

const MB = 1_000_000;
const UNPACKED_FACTOR = 3;

/** The disk, or the bytes themselves, refused to become a set. */
function storageHold(set: SetRef, observed: Observed): Hold | undefined {
  const { stage } = observed.seen;
  const trouble: Trouble | null = stage?.subject === set.manifestDigest ? stage : null;
  if (trouble === null || (!trouble.final && trouble.retryAtMs <= observed.now.monotonicMs)) return undefined;
  const status = trouble.final ? "failed" : "blocked";
  const afterMs = trouble.final ? LIMITS.idleMs : Math.max(1, trouble.retryAtMs - observed.now.monotonicMs);
  return holding(status, "stage", codesOf(trouble), trouble.evidence, { afterMs, on: ["disk", "assignment"] });
}

function codesOf(trouble: Trouble): readonly ReasonCode[] {
  return [...new Set(trouble.evidence.map(({ reasonCode }) => reasonCode))];
}

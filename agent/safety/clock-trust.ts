import type { Instant } from "./signals.ts";

/**
 * What the vehicle knows of the time, from signed documents alone. It is kept durably; the anchor helps only within its
 * boot. The floor never falls, and only a verified `issuedAt` raises it, so a clock that once said 2099 cannot make every
 * later document look expired for ever (H20).
 */
export interface TimeKnowledge {
  /** Newest verified `issuedAt`, in milliseconds since the epoch; null before the first. */
  readonly floorMs: number | null;
  readonly anchor: TimeAnchor | null;
  /** The clock was found wrong at the last contact that could tell. Holds through reboots until a contact agrees with it. */
  readonly distrusted: boolean;
}

/** The first sight of a freshly issued document: from here on the monotonic clock knows how much time has passed at least. */
export interface TimeAnchor {
  readonly issuedAtMs: number;
  /** How much older the document is than the monotonic clock counts: its age when first seen, and the computer's sleep since. */
  readonly ageMs: number;
  readonly monotonicMs: number;
  readonly bootId: string;
}

export const nothingKnown: TimeKnowledge = { floorMs: null, anchor: null, distrusted: false };

export interface Contact {
  /** `issuedAt` of the assignment that has just been verified; undefined when the contact brought none. */
  readonly issuedAtMs: number | undefined;
  /** The server's Date header; it never sets the time, it only says whether a document was issued just now. */
  readonly serverDateMs: number | undefined;
}

export interface ClockNow extends Instant {
  readonly bootId: string;
  /** `clockAheadSecMax` of the configuration, in milliseconds. */
  readonly aheadMsMax: number;
}

export type ClockJudgement =
  /** `nowMs` is the time by which expiry is judged, never below the floor. */
  | { readonly trusted: true; readonly nowMs: number }
  | { readonly trusted: false; readonly problem: "ahead" | "behind"; readonly nowMs: number };

/** Clocks of cloud and vehicle may differ by this much without one of them being wrong. */
const BEHIND_MS_MAX = 600_000;

/**
 * Knowledge after a contact with the cloud. Only a document that is newer than everything before makes an anchor, so that a
 * replayed one cannot hold the time back (freeze). A document that waited for the vehicle says nothing about the clock.
 */
export function learnFromContact(before: TimeKnowledge, contact: Contact, now: ClockNow): TimeKnowledge {
  const floorMs = raised(before.floorMs, contact.issuedAtMs);
  const anchor = anchorFrom(before, contact, now) ?? agedBy(contact, before.anchor, now);
  if (anchor?.bootId === now.bootId) return { floorMs, anchor, distrusted: isAhead(anchor, now) };
  const agrees = contact.serverDateMs !== undefined && Math.abs(now.wallMs - contact.serverDateMs) <= now.aheadMsMax;
  return { floorMs, anchor, distrusted: before.distrusted && !agrees };
}

/**
 * Whether the wall clock may be believed, and the time by which expiry is judged. A clock behind the floor is wrong; one more
 * than `aheadMsMax` ahead of a fresh `issuedAt` plus the time since is distrusted, and then `issuedAt` plus that time counts.
 */
export function judgeClock(known: TimeKnowledge, now: ClockNow): ClockJudgement {
  const floorMs = known.floorMs ?? Number.NEGATIVE_INFINITY;
  const anchor = known.anchor?.bootId === now.bootId ? known.anchor : undefined;
  const leastMs = Math.max(floorMs, anchor === undefined ? floorMs : anchor.issuedAtMs + elapsedMs(anchor, now));
  const isWrong = anchor === undefined ? known.distrusted : isAhead(anchor, now);
  if (isWrong) return { trusted: false, problem: "ahead", nowMs: Number.isFinite(leastMs) ? leastMs : now.wallMs };
  if (now.wallMs < leastMs - BEHIND_MS_MAX) return { trusted: false, problem: "behind", nowMs: leastMs };
  return { trusted: true, nowMs: Math.max(now.wallMs, leastMs) };
}

function anchorFrom(before: TimeKnowledge, contact: Contact, now: ClockNow): TimeAnchor | undefined {
  const { issuedAtMs, serverDateMs } = contact;
  if (issuedAtMs === undefined || serverDateMs === undefined) return undefined;
  if (before.floorMs !== null && issuedAtMs <= before.floorMs) return undefined;
  const ageMs = serverDateMs - issuedAtMs;
  if (Math.abs(ageMs) > now.aheadMsMax) return undefined;
  return { issuedAtMs, ageMs: Math.max(0, ageMs), monotonicMs: now.monotonicMs, bootId: now.bootId };
}

/** What two good clocks drift apart between contacts is no sleep, and knowledge that changes is written to the disk. */
const AGED_MS_MIN = 60_000;

/** A computer that slept learns from the server's Date that more time has passed; it can only make the clock look righter. */
function agedBy({ serverDateMs }: Contact, anchor: TimeAnchor | null, now: ClockNow): TimeAnchor | null {
  if (anchor === null || serverDateMs === undefined || anchor.bootId !== now.bootId) return anchor;
  const ageMs = serverDateMs - anchor.issuedAtMs - elapsedMs(anchor, now);
  return ageMs > anchor.ageMs + AGED_MS_MIN ? { ...anchor, ageMs } : anchor;
}

function isAhead(anchor: TimeAnchor, now: ClockNow): boolean {
  return now.wallMs > anchor.issuedAtMs + anchor.ageMs + elapsedMs(anchor, now) + now.aheadMsMax;
}

/** The monotonic clock does not count sleep, so a computer that slept looks ahead until its next contact: closed, not open. */
function elapsedMs(anchor: TimeAnchor, now: Instant): number {
  return Math.max(0, now.monotonicMs - anchor.monotonicMs);
}

function raised(floorMs: number | null, issuedAtMs: number | undefined): number | null {
  if (issuedAtMs === undefined) return floorMs;
  return floorMs === null ? issuedAtMs : Math.max(floorMs, issuedAtMs);
}

import type { AssignmentOffer } from "@muto/spec";
import type { ReleaseVerdict } from "./reconcile/desired.ts";
import { judgeClock, learnFromContact, type ClockNow, type Contact, type TimeKnowledge } from "./safety/clock-trust.ts";
import type { AgentServices, OfferVerdict } from "./services.ts";

/** What a poll brought. */
export interface OfferedAssignment {
  /** Null while the cloud has no assignment for this vehicle; undefined when it is what it was. */
  readonly offer: AssignmentOffer | null | undefined;
  /** The answer's Date header; it never sets the time. */
  readonly serverDateMs: number | undefined;
}

export type OfferServices = Pick<AgentServices, "clock" | "bootId" | "config" | "store" | "verifier" | "logger">;

/** No change of the release verdict: the offer said nothing new. */
export type Taken = { readonly release: ReleaseVerdict } | undefined;

/**
 * Makes an offer durable, or the reason why it was refused, before anything acts on either. What was accepted before stays
 * wanted when a newer offer is refused: whoever can break a document must not be able to change what a vehicle does.
 */
export async function takeOffer(services: OfferServices, offered: OfferedAssignment): Promise<Taken> {
  const { store, verifier, logger } = services;
  const { offer, serverDateMs } = offered;
  const { state } = store;
  if (offer === null || offer === undefined) {
    await learn(services, { issuedAtMs: undefined, serverDateMs });
    return undefined;
  }
  const offerHash = verifier.hashOf(offer);
  const accepted = state.accepted;
  if (accepted !== null && verifier.hashOf(accepted.offer) === offerHash) {
    await learn(services, { issuedAtMs: Date.parse(accepted.assignment.issuedAt), serverDateMs });
    if (state.refusal !== null) await store.record({ kind: "refusal-cleared" });
    return undefined;
  }
  const contextHash = verifier.trustHash;
  if (state.refusal?.offerHash === offerHash && state.refusal.contextHash === contextHash) return undefined;
  const verdict = verifyNow(services, offer, serverDateMs);
  const isKnown = accepted !== null && verifier.payloadHashOf(accepted.offer) === verifier.payloadHashOf(offer);
  if (isKnown && !isImproved(services, verdict)) {
    // Anybody on the way can add signatures or take them away: what was accepted neither loses nor is accepted anew by that.
    if (verdict.ok) await learn(services, { issuedAtMs: Date.parse(verdict.assignment.issuedAt), serverDateMs });
    if (verdict.ok && state.refusal !== null) await store.record({ kind: "refusal-cleared" });
    return undefined;
  }
  if (!verdict.ok) {
    const { reasonCode, evidence, sequence, desiredStateRevision } = verdict;
    logger.warn("assignment refused", { reasonCode, sequence, desiredStateRevision });
    const refusal = { offerHash, contextHash, reasonCode, evidence, sequence, desiredStateRevision };
    await store.record({ kind: "refused", refusal });
    return undefined;
  }
  const { assignment, release } = verdict;
  await learn(services, { issuedAtMs: Date.parse(assignment.issuedAt), serverDateMs });
  await store.record({ kind: "accepted", accepted: { offer, assignment, atMs: services.clock.wallMs() } });
  const { sequence, desiredStateRevision, stack, start } = assignment;
  logger.info("assignment accepted", {
    sequence,
    desiredStateRevision,
    stack: stack.name,
    version: stack.version,
    start,
  });
  return { release };
}

/** Signatures of what was accepted already count only where those that are here do not suffice. */
function isImproved(services: OfferServices, verdict: OfferVerdict): boolean {
  return verdict.ok && verdict.release.ok && !judgeAccepted(services).ok;
}

/** Judges what was accepted in an earlier life again: the vehicle's trust root may have changed since. */
export function judgeAccepted(services: OfferServices): ReleaseVerdict {
  const { accepted } = services.store.state;
  if (accepted === null) return { ok: true };
  const verdict = verifyNow(services, accepted.offer, undefined);
  if (verdict.ok) return verdict.release;
  const { reasonCode, evidence } = verdict;
  // Expiry gates acceptance and the start of a change, each at its own moment; it never takes back what was accepted.
  const isMereAge = evidence.every((item) => item.kind === "verification" && item.problem === "expired");
  return isMereAge ? { ok: true } : { ok: false, reasonCode, evidence };
}

/**
 * Fast-forward attack: whoever had the online key could raise the sequence so far that no later assignment is ever above it. Once
 * roots that have replaced that key are on the vehicle, what it signed holds nothing back; the documents of the keys that
 * stay are bounded by their own expiry. True when the floor has to be reset.
 */
export function isFloorDisowned(services: OfferServices): boolean {
  const { accepted, floors } = services.store.state;
  if (accepted === null || floors.sequence === 0) return false;
  const verdict = verifyNow(services, accepted.offer, undefined);
  // A signature of the envelope that holds proves at least the sequence.
  return !verdict.ok && verdict.reasonCode === "VERIFY_SIGNATURE_FAILED" && verdict.sequence === null;
}

function verifyNow(services: OfferServices, offer: AssignmentOffer, serverDateMs: number | undefined): OfferVerdict {
  const { store, verifier } = services;
  const { floors, accepted, time } = store.state;
  const now = clockNow(services);
  const nowMs = (issuedAtMs: number) =>
    judgeClock(learnFromContact(time, { issuedAtMs, serverDateMs }, now), now).nowMs;
  return verifier.verify(offer, { sequence: floors.sequence, accepted: accepted?.offer ?? null, nowMs });
}

async function learn({ store, ...services }: OfferServices, contact: Contact): Promise<void> {
  const before = store.state.time;
  const time = learnFromContact(before, contact, clockNow(services));
  if (!isSame(before, time)) await store.record({ kind: "time-learned", time });
}

function isSame(one: TimeKnowledge, other: TimeKnowledge): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

export function clockNow({ clock, bootId, config }: Pick<OfferServices, "clock" | "bootId" | "config">): ClockNow {
  const aheadMsMax = config.limits.clockAheadSecMax * 1000;
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs(), bootId, aheadMsMax };
}

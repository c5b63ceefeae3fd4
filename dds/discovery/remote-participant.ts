import { LIMITS } from "../limits.ts";
import type { Address } from "../network.ts";
import type { Input } from "../reader/reliable-input.ts";
import type { DataSubmessage } from "../wire/read-message.ts";
import type { ParticipantAnnouncement, WriterAnnouncement } from "./announcements.ts";

/** A peer that is alive. */
export interface RemoteParticipant {
  readonly prefix: string;
  readonly vendor: number;
  /** Where its discovery and its data are reached. */
  address: Address;
  userAddress: Address;
  leaseMs: number;
  lastHeardMs: number;
  /** Its announcements of writers. */
  readonly publications: Input<DataSubmessage>;
  readonly writers: Map<string, WriterAnnouncement>;
  /** Our announcements of readers that it has; the next one is what it lacks. */
  acknowledged: number;
  answeredMs: number;
  remindAgainMs: number;
  remindEveryMs: number;
}

/**
 * The addresses at which a peer is reached: those it announces, where they fit the way its datagram came. On the loopback nothing
 * else than the loopback is used, so that no announcement can make us send to somewhere else.
 */
export function reachedAt(
  announcement: Pick<ParticipantAnnouncement, "metatraffic" | "userTraffic">,
  from: Address,
  loopbackOnly: boolean,
): { readonly address: Address; readonly userAddress: Address } {
  const address = best(announcement.metatraffic, from, loopbackOnly) ?? from;
  return { address, userAddress: best(announcement.userTraffic, from, loopbackOnly) ?? address };
}

export function isLoopback(host: string): boolean {
  return host.startsWith("127.");
}

function best(announced: readonly Address[], from: Address, loopbackOnly: boolean): Address | undefined {
  const unicast = announced.filter(({ host }) => Number(host.split(".")[0]) < MULTICAST_FIRST_OCTET);
  const [first] = unicast;
  if (first === undefined) return undefined;
  const same = unicast.find(({ host }) => host === from.host);
  if (same !== undefined) return same;
  const usable = unicast.find(({ host }) => isLoopback(host) === loopbackOnly);
  return usable ?? { host: from.host, port: first.port };
}

const MULTICAST_FIRST_OCTET = 224;

export function isExpired(participant: RemoteParticipant, nowMs: number): boolean {
  return nowMs - participant.lastHeardMs > participant.leaseMs;
}

/** Whether one more writer of that participant may be remembered. */
export function hasRoomForWriter(participant: RemoteParticipant, allWriters: number): boolean {
  return participant.writers.size < LIMITS.writersPerParticipantMax && allWriters < LIMITS.writersMax;
}

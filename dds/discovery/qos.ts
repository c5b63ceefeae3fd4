import type { IncompatiblePolicy, Qos } from "../model.ts";

/** What a publisher announces of itself, as far as matching asks for it. */
export interface Offer {
  readonly reliable: boolean;
  /** Keeps samples for subscriptions that come later. */
  readonly transientLocal: boolean;
  readonly exclusiveOwnership: boolean;
  readonly partitions: readonly string[];
  /** Data representation ids in the writer's order; empty means plain CDR. */
  readonly representations: readonly number[];
}

/** XCDR1; the only one that is read here, and what ROS 2 writes. */
const PLAIN_CDR = 0;

/**
 * Policies over which a subscription that asks for `asked` cannot hear a publisher (OMG DDS 1.4, 2.2.3: offered must be at least
 * requested). Deadline, liveliness and order are asked for at their weakest, so they always fit.
 */
export function incompatibilities(offer: Offer, asked: Qos): readonly IncompatiblePolicy[] {
  const found: IncompatiblePolicy[] = [];
  if (asked.reliability === "reliable" && !offer.reliable) found.push("reliability");
  if (asked.durability === "transient-local" && !offer.transientLocal) found.push("durability");
  if (offer.exclusiveOwnership) found.push("ownership");
  if (!inDefaultPartition(offer.partitions)) found.push("partition");
  const [first] = offer.representations;
  if (first !== undefined && first !== PLAIN_CDR) found.push("data-representation");
  return found;
}

/** The most that a publisher can be asked for. Without reliability there is no way to ask for what was kept. */
export function bestOf(offer: Offer): Qos {
  if (!offer.reliable) return { reliability: "best-effort", durability: "volatile" };
  return { reliability: "reliable", durability: offer.transientLocal ? "transient-local" : "volatile" };
}

export function offeredQos(offer: Offer): Qos {
  return {
    reliability: offer.reliable ? "reliable" : "best-effort",
    durability: offer.transientLocal ? "transient-local" : "volatile",
  };
}

/** We are in the default partition, whose name is empty; a publisher's name may be a pattern that covers it. */
function inDefaultPartition(partitions: readonly string[]): boolean {
  return partitions.length === 0 || partitions.some((name) => /^\**$/.test(name));
}

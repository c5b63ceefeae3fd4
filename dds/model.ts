import type { Address } from "./network.ts";

/** Quality of service as a publisher offers it or a subscription asks for it; the other policies are DDS defaults. */
export interface Qos {
  readonly reliability: "best-effort" | "reliable";
  readonly durability: "volatile" | "transient-local";
}

/**
 * How a subscription asks.
 * - `latched`: reliable and transient-local, so that the last value of a publisher that fell silent long ago still arrives;
 *   publishers that offer less are incompatible and are listed as such.
 * - `adaptive`: each publisher is asked for the best it offers, so that every publisher is heard, and a latched one is heard
 *   latched.
 * - a fixed `Qos`.
 */
export type SubscriptionQos = "latched" | "adaptive" | Qos;

/** One sample of a subscribed topic. */
export interface Sample {
  /** The serialized message with its four bytes of encapsulation header; the receiver may keep it. */
  readonly payload: Uint8Array;
  /** GUID of the writer, 32 hexadecimal digits; the first 24 are its participant. */
  readonly writer: string;
  /** Counts up by writer. Samples of one writer come in order and never twice. */
  readonly sequence: number;
  /** Monotonic time of the Clock port at which the (last) datagram of the sample came. */
  readonly receivedAtMs: number;
  /** What the writer says about when it wrote, in milliseconds since the Unix epoch, by its own clock. */
  readonly sourceTimestampMs?: number;
}

/** Policies of DDS over which a publisher and a subscription may fail to match; `type` means another type name. */
export type IncompatiblePolicy =
  | "type"
  | "reliability"
  | "durability"
  | "ownership"
  | "partition"
  | "data-representation";

/** What of the ROS graph was discovered and is alive at this moment: a snapshot. */
export interface Graph {
  readonly participants: readonly GraphParticipant[];
  /** Sorted by name. A node is here exactly while the participant that announced it is alive. */
  readonly nodes: readonly GraphNode[];
  /** ROS topics (not services, actions' hidden parts included) with at least one live publisher; sorted by name, then type. */
  readonly topics: readonly GraphTopic[];
}

export interface GraphParticipant {
  /** 24 hexadecimal digits. A restarted process has a new one. */
  readonly guidPrefix: string;
  readonly vendor: "cyclone-dds" | "fast-dds" | "other";
  /** Where it is reached. */
  readonly address: Address;
  /** It is dropped when nothing was heard from it for this long. */
  readonly leaseMs: number;
  /** Monotonic. */
  readonly lastHeardMs: number;
}

export interface GraphNode {
  /** Fully qualified: `/perception/lidar_driver`. */
  readonly name: string;
  readonly participant: string;
}

export interface GraphTopic {
  /** `/odom` */
  readonly name: string;
  /** `nav_msgs/msg/Odometry` */
  readonly type: string;
  readonly publishers: readonly GraphPublisher[];
}

export interface GraphPublisher {
  /** GUID, 32 hexadecimal digits. */
  readonly writer: string;
  readonly qos: Qos;
  /** Subscriptions of ours to this topic that cannot hear this publisher, and why; empty when there are none. */
  readonly incompatible: readonly IncompatiblePolicy[];
}

/** How one topic lives, whether it is subscribed or not. */
export interface TopicStatistics {
  readonly name: string;
  /** Live publishers of this topic name, of whatever type. */
  readonly publishers: number;
  /** Of these, the ones that a subscription of ours is matched with. */
  readonly matched: number;
  /** Policies over which publishers could not be matched. */
  readonly incompatible: readonly IncompatiblePolicy[];
  /** What subscriptions of ours have received; undefined when there is none. */
  readonly received: TopicReceived | undefined;
}

export interface TopicReceived {
  /** Since the subscription was made. */
  readonly samples: number;
  /** Samples per second over the last `observedMs`. Falls to 0 when the topic is silent for that long. */
  readonly rateHz: number;
  /**
   * How much time the rate is about: the asked window, or less while the subscription is younger than the window or the topic
   * is so fast that fewer seconds are remembered.
   */
  readonly observedMs: number;
  /** Age of the newest sample by the monotonic clock; undefined before the first. */
  readonly newestAgeMs: number | undefined;
  /** GUIDs of live writers from which something was received. */
  readonly liveWriters: number;
}

/** What was thrown away; each only ever grows. Hostile or broken traffic shows up here and nowhere else. */
export interface ReceiveCounters {
  readonly datagrams: number;
  /** Not RTPS, cut short, or contradicting themselves. */
  readonly malformed: number;
  /** From outside the computer while the interface is the loopback. */
  readonly foreign: number;
  /** Refused because a named limit was reached (participants, writers, fragments, held samples, …). */
  readonly refused: number;
  /** Samples that were received before. */
  readonly duplicates: number;
  /** Samples given up: never came, or were displaced by newer ones while incomplete. */
  readonly lost: number;
}

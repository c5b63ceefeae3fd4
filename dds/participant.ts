import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { Graph, ReceiveCounters, Sample, SubscriptionQos, TopicStatistics } from "./model.ts";
import type { UdpNetwork } from "./network.ts";

export interface ParticipantOptions {
  /** `ROS_DOMAIN_ID`, 0 to 232. */
  readonly domainId: number;
  /**
   * IPv4 address of the one interface that is used: the one the stack uses. The default, `127.0.0.1`, is right for
   * `ROS_LOCALHOST_ONLY=1` and `ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST`, keeps all traffic on this computer, and takes
   * nothing that comes from outside.
   */
  readonly interfaceAddress?: string;
  /** Whether peers are looked for by multicast (239.255.0.1); default true. */
  readonly multicast?: boolean;
  /** IPv4 addresses that are asked by unicast, for set-ups without multicast; each on the ports of participants 0 to `peerIndexMax`. */
  readonly initialPeers?: readonly string[];
  /** Default 32, what ROS 2 uses for computers that discover each other without multicast. */
  readonly peerIndexMax?: number;
  readonly network: UdpNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface SubscribeOptions {
  /** Fully qualified ROS name: `/odom`. */
  readonly topic: string;
  /** ROS type name: `nav_msgs/msg/Odometry`. */
  readonly type: string;
  /** Default `adaptive`. */
  readonly qos?: SubscriptionQos;
  /** Called for each sample, in order by writer; what it throws is logged and otherwise ignored. */
  readonly onSample: (sample: Sample) => void;
}

/** A silent member of a DDS domain: it listens, and sends nothing but discovery and acknowledgements. */
export interface Participant extends AsyncDisposable {
  /** Starts hearing a topic, whether or not anybody publishes it yet. Throws a RangeError when a name is no ROS name or there are too many. */
  subscribe(options: SubscribeOptions): Subscription;
  graph(): Graph;
  /** Statistics of a topic by its ROS name; the rate is over the last `windowMs` (default 5000, at most 60000). */
  topic(name: string, windowMs?: number): TopicStatistics;
  counters(): ReceiveCounters;
  /** Calls back when the graph may have changed: only a wake-up; ends when disposed. */
  watch(onChange: () => void): Disposable;
}

/** Disposing it ends the subscription and tells the publishers. */
export interface Subscription extends Disposable {
  readonly topic: string;
  readonly type: string;
}

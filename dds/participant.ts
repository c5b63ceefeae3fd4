import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { countersOf, Engine } from "./engine.ts";
import type { Graph, ReceiveCounters, Sample, SubscriptionQos, TopicStatistics } from "./model.ts";
import type { Address, UdpNetwork, UdpSocket } from "./network.ts";
import { ddsTopic, ddsType, NODES_TOPIC, NODES_TYPE } from "./ros/names.ts";
import { readNodes } from "./ros/nodes.ts";
import { graphOf, statisticsOf } from "./ros/graph.ts";
import { hexOf, PREFIX_BYTES, VENDOR } from "./wire/identifiers.ts";

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
  /** How long publishers keep us in mind without hearing from us; default 20000. */
  readonly leaseMs?: number;
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
  /** Calls back when the graph may have changed: only a wake-up, and there may be many; what it throws is logged. Ends when disposed. */
  watch(onChange: () => void): Disposable;
}

/** Disposing it ends the subscription and tells the publishers. */
export interface Subscription extends Disposable {
  readonly topic: string;
  readonly type: string;
}

/** Well-known ports (OMG DDSI-RTPS 2.5, 9.6.2.3): 250 for each domain, two for each participant of a computer. */
const DISCOVERY_PORT_BASE = 7_400;
const PORTS_PER_DOMAIN = 250;
const UNICAST_OFFSET = 10;
const PORTS_PER_PARTICIPANT = 2;
const DISCOVERY_GROUP = "239.255.0.1";
const DOMAIN_MAX = 232;
const PEER_INDEX_MAX_DEFAULT = 32;
const LEASE_MS_DEFAULT = 20_000;
const TICK_MS = 100;
const WINDOW_MS_DEFAULT = 5_000;
const WINDOW_MS_MAX = 60_000;

/**
 * Joins a DDS domain over UDPv4 and starts looking for peers. Shared memory, TCP, UDPv6, DDS Security and discovery servers are not
 * spoken. Its own port is any free one, so that it never takes one that a node of the vehicle needs. Rejects when the interface
 * or the discovery port cannot be had. Closing it says goodbye to every peer.
 */
export async function openParticipant(options: ParticipantOptions): Promise<Participant> {
  const { domainId, interfaceAddress = "127.0.0.1", multicast = true, network, clock, logger } = options;
  if (!Number.isInteger(domainId) || domainId < 0 || domainId > DOMAIN_MAX)
    throw new RangeError(`a domain is a number from 0 to ${DOMAIN_MAX}`);
  const discoveryPort = DISCOVERY_PORT_BASE + PORTS_PER_DOMAIN * domainId;
  const watchers = new Set<() => void>();
  await using opening = new AsyncDisposableStack();
  // Datagrams may come before the engine is made, which needs the port; they are lost like any that come too early.
  const receiving: { engine?: Engine } = {};
  const onDatagram = (bytes: Uint8Array, from: Address) => receiving.engine?.receive(bytes, from, clock.monotonicMs());
  const socket = opening.use(await network.open({ interfaceAddress, port: 0, onDatagram }));
  if (multicast)
    opening.use(
      await network.open({ interfaceAddress, port: discoveryPort, multicastGroup: DISCOVERY_GROUP, onDatagram }),
    );
  const sending = new Set<Promise<void>>();
  const engine = new Engine({
    prefix: newPrefix(options),
    address: { host: interfaceAddress, port: socket.port },
    leaseMs: options.leaseMs ?? LEASE_MS_DEFAULT,
    announceTo: [
      ...(multicast ? [{ host: DISCOVERY_GROUP, port: discoveryPort }] : []),
      ...peersOf(options, discoveryPort),
    ],
    send: (bytes, to) => send(socket, sending, bytes, to),
    onChange: () => {
      for (const onChange of watchers)
        try {
          onChange();
        } catch (error) {
          logger.error("a watcher of the graph failed", { error });
        }
    },
    onFault: (error) => logger.error("a subscriber failed at a sample", { error }),
  });
  receiving.engine = engine;
  const nodes = watchNodes(engine, clock);
  const ticking = startTicking(engine, clock);
  const sockets = opening.move();
  return {
    subscribe: (subscription) => subscribe(engine, clock, subscription),
    graph: () => graphOf(engine, nodes),
    topic: (name, windowMs = WINDOW_MS_DEFAULT) =>
      statisticsOf(engine, name, { nowMs: clock.monotonicMs(), windowMs: Math.min(WINDOW_MS_MAX, windowMs) }),
    counters: () => countersOf(engine),
    watch: (onChange) => {
      // A function of its own, so that one that watches twice is called twice and ends once.
      const watcher = () => onChange();
      watchers.add(watcher);
      return { [Symbol.dispose]: () => void watchers.delete(watcher) };
    },
    [Symbol.asyncDispose]: async () => {
      watchers.clear();
      await ticking.stop();
      engine.leave();
      await Promise.all(sending);
      await sockets.disposeAsync();
    },
  };
}

/** The vendor's id first, then chance: no two participants are alike, and a restarted one is a new one. */
function newPrefix({ random }: Pick<ParticipantOptions, "random">): string {
  return VENDOR.ours.toString(16).padStart(4, "0") + hexOf(random.bytes(PREFIX_BYTES - 2));
}

function peersOf(
  { initialPeers = [], peerIndexMax = PEER_INDEX_MAX_DEFAULT }: ParticipantOptions,
  discoveryPort: number,
): readonly Address[] {
  return initialPeers.flatMap((host) =>
    Array.from({ length: peerIndexMax + 1 }, (_, index) => ({
      host,
      port: discoveryPort + UNICAST_OFFSET + PORTS_PER_PARTICIPANT * index,
    })),
  );
}

function send(socket: UdpSocket, sending: Set<Promise<void>>, bytes: Uint8Array, to: Address): void {
  const sent = socket.send(bytes, to).finally(() => sending.delete(sent));
  sending.add(sent);
}

function subscribe(engine: Engine, clock: Clock, options: SubscribeOptions): Subscription {
  const { qos = "adaptive", onSample } = options;
  const [topic, type] = [ddsTopic(options.topic), ddsType(options.type)];
  if (topic === undefined) throw new RangeError(`${options.topic} is no fully qualified ROS topic`);
  if (type === undefined) throw new RangeError(`${options.type} is no ROS type`);
  const subscription = engine.subscribe({ topic, type, qos, onSample }, clock.monotonicMs());
  return {
    topic: options.topic,
    type: options.type,
    [Symbol.dispose]: () => engine.unsubscribe(subscription),
  };
}

/** Names of nodes by the writer that announced them; only those of live writers count. */
function watchNodes(engine: Engine, clock: Clock): ReadonlyMap<string, readonly string[]> {
  const nodes = new Map<string, readonly string[]>();
  const onSample = ({ writer, payload }: Sample) => {
    const names = readNodes(payload);
    if (names === undefined) {
      engine.counters.malformed++;
      return;
    }
    for (const known of nodes.keys()) if (!engine.hasWriter(known)) nodes.delete(known);
    nodes.set(writer, names);
    engine.changed();
  };
  engine.subscribe({ topic: NODES_TOPIC, type: NODES_TYPE, qos: "latched", onSample }, clock.monotonicMs());
  return nodes;
}

function startTicking(engine: Engine, clock: Clock): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      engine.tick(clock.monotonicMs());
      await clock.sleep(TICK_MS, stopping.signal);
    }
  })();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

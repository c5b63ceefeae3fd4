import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { ChangeInProgress, ChangeOverRosbridge, RosbridgeProvider } from "@muto/spec";
import { createRosbridgeClient, type RosbridgeClient, type RosbridgeSubscription } from "../rosbridge/client.ts";
import { fieldOf } from "../rosbridge/field.ts";
import { isRecord, type TopicMessage } from "../rosbridge/protocol.ts";
import type { WebSocketConnector } from "../rosbridge/web-socket.ts";
import type { OnHeard } from "./line.ts";
import { STRING_TYPE, type ProviderPlan } from "./mapping.ts";
import type { MotionLimits } from "./meaning.ts";
import { repeatLatched } from "./repeat.ts";
import { createTopicBoard, type TopicBoard } from "./topic-board.ts";

export interface RosbridgeProviderOptions {
  readonly provider: Pick<RosbridgeProvider, "name" | "url" | "change">;
  readonly plan: ProviderPlan;
  readonly limits: MotionLimits;
  readonly connector: WebSocketConnector;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onHeard: OnHeard;
}

export interface OpenRosbridgeProvider extends AsyncDisposable {
  /** Tells the vehicle's ROS software, now and after each reconnection: it is a state, not an event. */
  tell(change: ChangeInProgress): void;
}

const THROTTLE_MS = 100;
const RENEW_MS = 10_000;
const MESSAGE_BYTES_MAX = 262_144;
const MESSAGES_PER_SEC_MAX = 1_000;
const SERVICE_TIMEOUT_MS = 5_000;
const SERVICE_RETRY_MS = 2_000;
const SET_BOOL_TYPE = "std_srvs/srv/SetBool";

/**
 * Signals over rosbridge. Nothing is kept alive: when a topic, the heartbeat or the connection falls silent, what was said ages
 * (H6). What comes that no rosbridge server says, or too much of it, takes everything back.
 */
export function openRosbridgeProvider(options: RosbridgeProviderOptions): OpenRosbridgeProvider {
  const { provider, plan, clock, logger, onHeard } = options;
  const stop = new AbortController();
  const heartbeat: { atMs: number | undefined } = { atMs: undefined };
  const board = createTopicBoard({
    plan,
    limits: options.limits,
    nowMs: () => clock.monotonicMs(),
    onHeard,
    latchedAgeMs: (_, { receivedMs }) => {
      const sinceMs = plan.heartbeat === undefined ? receivedMs : heartbeat.atMs;
      return sinceMs === undefined ? undefined : Math.max(0, clock.monotonicMs() - sinceMs);
    },
  });
  const teller = createTeller(() => client, options, stop.signal);
  const client: RosbridgeClient = createRosbridgeClient({
    ...options,
    url: provider.url,
    messageBytesMax: MESSAGE_BYTES_MAX,
    messagesPerSecMax: MESSAGES_PER_SEC_MAX,
    onConnected: () => teller.repeat(),
    onDisconnected: () => {
      heartbeat.atMs = undefined;
      board.forget();
    },
    onGarbage: () => {
      logger.warn("signal provider is not understood", { provider: provider.name });
      board.forget();
      onHeard("malformed");
    },
  });
  const onHeartbeat = () => (heartbeat.atMs = clock.monotonicMs());
  for (const subscription of subscriptionsOf(plan, board, onHeartbeat)) client.subscribe(subscription);
  teller.advertise();
  const renewing = renewUnheard(client, board, clock, stop.signal);
  const repeating = repeatLatched(plan, board, clock, stop.signal);
  return {
    tell: (change) => teller.tell(change),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await client[Symbol.asyncDispose]();
      await Promise.all([repeating, renewing, teller.ended()]);
    },
  };
}

function subscriptionsOf(
  { topics, heartbeat }: ProviderPlan,
  board: TopicBoard,
  onHeartbeat: () => void,
): readonly RosbridgeSubscription[] {
  const heard = topics.map((plan): RosbridgeSubscription => {
    const { topic, type, mappings } = plan;
    const onMessage = (message: TopicMessage) => {
      if (topic === heartbeat?.topic) onHeartbeat();
      if (message.kind !== "read" || !isRecord(message.content)) return board.hearMalformed(plan);
      const { content } = message;
      const fields = mappings.map(({ path }) => path.map((field) => fieldOf(content, field)));
      board.hear(plan, fields, topic);
    };
    return { topic, type, throttleMs: THROTTLE_MS, raw: false, onMessage };
  });
  const isNeeded = topics.some(({ latched }) => latched) && !topics.some(({ topic }) => topic === heartbeat?.topic);
  if (heartbeat === undefined || !isNeeded) return heard;
  return [...heard, { ...heartbeat, throttleMs: THROTTLE_MS, raw: false, onMessage: onHeartbeat }];
}

/**
 * A server that subscribed before a latched publisher was there did not ask it for what it had published, and would wait for its
 * next word for ever. Subscribing anew asks.
 */
async function renewUnheard(
  client: RosbridgeClient,
  board: TopicBoard,
  clock: Clock,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    await clock.sleep(RENEW_MS, stop);
    if (stop.aborted) return;
    for (const topic of board.unheardLatched()) client.renew(topic);
  }
}

interface Teller {
  advertise(): void;
  tell(change: ChangeInProgress): void;
  /** Publishes the current state again. */
  repeat(): void;
  ended(): Promise<void>;
}

/**
 * A latched topic, a service, or both. The service is called until it takes the state, because the stack that offers it may be
 * the one that is just starting; its success acknowledges the change.
 */
function createTeller(
  client: () => RosbridgeClient,
  { provider: { change: ways = {} }, clock, onHeard }: RosbridgeProviderOptions,
  stop: AbortSignal,
): Teller {
  const { topic, service }: ChangeOverRosbridge = ways;
  const state: { current: ChangeInProgress | undefined; calling: Promise<void> } = {
    current: undefined,
    calling: Promise.resolve(),
  };
  let publisher: ReturnType<RosbridgeClient["advertise"]> | undefined;
  const publish = () => {
    if (state.current !== undefined) publisher?.publish({ data: JSON.stringify(state.current) });
  };
  const call = async (name: string, change: ChangeInProgress) => {
    while (!stop.aborted && state.current === change) {
      const request = { service: name, type: SET_BOOL_TYPE, args: { data: change.inProgress } };
      const answer = await client().call({ ...request, timeoutMs: SERVICE_TIMEOUT_MS }, stop);
      if (answer.ok && isRecord(answer.values) && answer.values["success"] === true) {
        if (change.inProgress && state.current === change) {
          onHeard({ kind: "muto.signals/v1", changeAcknowledged: change.changeId });
        }
        return;
      }
      await clock.sleep(SERVICE_RETRY_MS, stop);
    }
  };
  return {
    advertise: () => {
      if (topic !== undefined) publisher = client().advertise(topic, STRING_TYPE);
    },
    tell: (change) => {
      state.current = change;
      publish();
      if (service !== undefined) state.calling = Promise.all([state.calling, call(service, change)]).then(() => {});
    },
    repeat: publish,
    ended: () => state.calling,
  };
}

import { backoffMs } from "@muto/kit/backoff";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { createCalls, type ServiceAnswer, type ServiceRequest } from "./calls.ts";
import { readMessage, type TopicMessage, type ToServer } from "./protocol.ts";
import type { WebSocketConnection, WebSocketConnector, WebSocketMessage } from "./web-socket.ts";

export interface RosbridgeOptions {
  readonly url: string;
  readonly connector: WebSocketConnector;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Larger messages are not read. */
  readonly messageBytesMax: number;
  /** A server that says more is cut off. */
  readonly messagesPerSecMax: number;
  /** Called when a connection is open, after everything was subscribed and advertised on it. */
  readonly onConnected?: () => void;
  readonly onDisconnected?: () => void;
  /** Something came that no rosbridge server says, or far too much of it. */
  readonly onGarbage?: () => void;
}

/** A client of one rosbridge server that keeps connecting until it is disposed of. */
export interface RosbridgeClient extends AsyncDisposable {
  /** Monotonic time since which there is a connection; undefined while there is none. */
  connectedSinceMs(): number | undefined;
  /** Hears a topic from now on, across reconnections. One subscription per topic. */
  subscribe(subscription: RosbridgeSubscription): Disposable;
  /** Subscribes to a topic anew; the server looks again at what its publishers offer. */
  renew(topic: string): void;
  /** Makes a latched publisher, across reconnections; what is published while there is no connection is lost. */
  advertise(topic: string, type: string): { publish(message: object): void };
  /** Never rejects. */
  call(request: ServiceRequest, signal: AbortSignal): Promise<ServiceAnswer>;
}

export interface RosbridgeSubscription {
  readonly topic: string;
  /** Always sent: without it the server refuses topics that nobody advertises yet. */
  readonly type: string;
  /** 0 asks for every message. */
  readonly throttleMs: number;
  /** The server does not convert raw messages, and this client does not read them: only that they came counts. */
  readonly raw: boolean;
  readonly onMessage: (message: TopicMessage) => void;
}

const RECONNECT_MS = { base: 500, max: 15_000 } as const;

/** A connection that lasted this long was a good one: the next attempt comes soon. */
const STABLE_MS = 10_000;

/** Silence of this length asks for a sign of life; twice of it ends the connection, which also covers one that never opens. */
const SILENCE_MS = 2_500;

export function createRosbridgeClient(options: RosbridgeOptions): RosbridgeClient {
  const { clock } = options;
  const stop = new AbortController();
  const subscriptions = new Map<string, RosbridgeSubscription>();
  const advertised = new Map<string, string>();
  const calls = createCalls(clock);
  const state: { connection: WebSocketConnection | undefined; sinceMs: number } = { connection: undefined, sinceMs: 0 };

  const send = (message: ToServer) => state.connection?.send(JSON.stringify(message));
  const hear = (message: WebSocketMessage) => {
    const said = readMessage(message);
    if (said.op === "publish") subscriptions.get(said.topic)?.onMessage(said.message);
    else if (said.op === "service_response") {
      calls.answer(said.id, said.result ? { ok: true, values: said.values } : { ok: false, problem: "refused" });
    } else if (said.op === "garbage") options.onGarbage?.();
  };
  const session: SessionHandlers = {
    hear,
    open: (connection) => {
      state.connection = connection;
      state.sinceMs = clock.monotonicMs();
      for (const [topic, type] of advertised) send(advertisement(topic, type));
      for (const subscription of subscriptions.values()) send(subscribing(subscription));
      options.onConnected?.();
    },
    closed: () => {
      if (state.connection === undefined) return;
      state.connection = undefined;
      calls.loseAll();
      options.onDisconnected?.();
    },
  };
  const running = keepConnecting(options, session, stop.signal);
  return {
    connectedSinceMs: () => (state.connection === undefined ? undefined : state.sinceMs),
    subscribe: (subscription) => {
      const { topic } = subscription;
      subscriptions.set(topic, subscription);
      send(subscribing(subscription));
      return {
        [Symbol.dispose]: () => {
          if (subscriptions.get(topic) !== subscription) return;
          subscriptions.delete(topic);
          send(unsubscribing(topic));
        },
      };
    },
    renew: (topic) => {
      const subscription = subscriptions.get(topic);
      if (subscription === undefined) return;
      send(unsubscribing(topic));
      send(subscribing(subscription));
    },
    advertise: (topic, type) => {
      advertised.set(topic, type);
      send(advertisement(topic, type));
      return { publish: (msg) => send({ op: "publish", topic, msg }) };
    },
    call: async (request, signal) =>
      state.connection === undefined
        ? { ok: false, problem: "not-connected" }
        : await calls.begin(request, send, signal),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

interface SessionHandlers {
  readonly hear: (message: WebSocketMessage) => void;
  readonly open: (connection: WebSocketConnection) => void;
  readonly closed: () => void;
}

async function keepConnecting(options: RosbridgeOptions, session: SessionHandlers, stop: AbortSignal): Promise<void> {
  const { clock, random, logger, url } = options;
  let attempt = 0;
  while (!stop.aborted) {
    const startedMs = clock.monotonicMs();
    const { reason, wasOpen } = await oneConnection(options, session, stop);
    if (stop.aborted) return;
    if (wasOpen && clock.monotonicMs() - startedMs >= STABLE_MS) attempt = 0;
    // Said once for each loss: a vehicle whose stack is down for the night fills no log.
    if (attempt === 0) logger.warn("rosbridge is not connected", { url, reason });
    const { base, max } = RECONNECT_MS;
    await clock.sleep(backoffMs({ attempt, baseMs: base, maxMs: max, fraction: random.fraction() }), stop);
    attempt += 1;
  }
}

interface ConnectionEnd {
  readonly reason: string;
  readonly wasOpen: boolean;
}

async function oneConnection(
  options: RosbridgeOptions,
  session: SessionHandlers,
  stop: AbortSignal,
): Promise<ConnectionEnd> {
  const { connector, clock, url, logger, messageBytesMax, messagesPerSecMax } = options;
  const ended = new AbortController();
  const end = { reason: "", wasOpen: false };
  const alive = { atMs: clock.monotonicMs() };
  const pace = { startedMs: clock.monotonicMs(), messages: 0 };
  const connection = connector.connect({
    url,
    messageBytesMax,
    onAlive: () => (alive.atMs = clock.monotonicMs()),
    onOpen: () => {
      end.wasOpen = true;
      logger.info("rosbridge is connected", { url });
      session.open(connection);
    },
    onMessage: (message) => {
      const nowMs = clock.monotonicMs();
      if (nowMs - pace.startedMs >= 1_000) Object.assign(pace, { startedMs: nowMs, messages: 0 });
      pace.messages += 1;
      if (pace.messages <= messagesPerSecMax) return session.hear(message);
      if (pace.messages > messagesPerSecMax + 1) return;
      logger.warn("rosbridge says too much and is cut off", { url, messagesPerSecMax });
      options.onGarbage?.();
      connection.close();
    },
    onClosed: (reason) => {
      end.reason = reason;
      session.closed();
      ended.abort();
    },
  });
  let askedMs: number | undefined;
  while (!ended.signal.aborted) {
    await clock.sleep(SILENCE_MS, AbortSignal.any([ended.signal, stop]));
    const isSilent = clock.monotonicMs() - alive.atMs >= SILENCE_MS;
    const hasBeenAsked = askedMs !== undefined && askedMs >= alive.atMs;
    if (stop.aborted || (isSilent && hasBeenAsked)) {
      connection.close();
      await untilAborted(ended.signal);
    } else if (isSilent) {
      askedMs = clock.monotonicMs();
      connection.ping();
    }
  }
  return end;
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

function subscribing({ topic, type, throttleMs, raw }: RosbridgeSubscription): ToServer {
  return {
    op: "subscribe",
    id: `sub:${topic}`,
    topic,
    type,
    throttle_rate: throttleMs,
    // With a throttle the newest of what comes faster is sent later, not lost: a mode may change twice in 100 ms.
    queue_length: throttleMs === 0 ? 0 : 1,
    compression: raw ? "cbor-raw" : "none",
  };
}

function unsubscribing(topic: string): ToServer {
  return { op: "unsubscribe", id: `sub:${topic}`, topic };
}

function advertisement(topic: string, type: string): ToServer {
  return { op: "advertise", id: `adv:${topic}`, topic, type, latch: true, queue_size: 1 };
}

import { backoffMs } from "@muto/kit/backoff";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import mqtt, { type MqttClient } from "mqtt";
import type { MqttConnector, MqttMessage, MqttOptions, MqttSession } from "../ports.ts";
import { packetLimit } from "./packet-limit.ts";

export interface MqttConnectorOptions {
  /** mqtt, mqtts, ws or wss; without user name and password. */
  readonly url: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const CONNECT_MS_MAX = 15_000;
const CLOSE_MS_MAX = 2_000;
const KEEPALIVE_SEC = 30;
const RECONNECT_BASE_MS = 1_000;
const RECONNECT_MS_MAX = 60_000;
/** A connection that lasted this long was a good one, and the next attempt comes soon. */
const STABLE_MS = 30_000;
/** What the cloud sends is a notify of at most two kilobytes. */
const PACKET_BYTES_MAX = 65_536;
/** Every publish that waits listens for the end of the connection; the outbox hands over at most this many at once. */
const PUBLISHES_MAX = 64;

/**
 * MQTT 3.1.1 by mqtt.js. Each attempt is a client of its own with a clean session and a new password, because tokens are
 * short-lived, and nothing has to be kept by the broker: the notify is retained, reports are in the outbox. Attempts go on
 * for ever with capped, jittered backoff; without a broker the agent works by polling.
 */
export function createMqttConnector(options: MqttConnectorOptions): MqttConnector {
  return { connect: (session) => openSession(options, session) };
}

function openSession(connector: MqttConnectorOptions, session: MqttOptions): MqttSession {
  const stop = new AbortController();
  let client: MqttClient | undefined;
  const running = keepConnecting(connector, session, stop.signal, (current) => {
    client = current;
  });
  return {
    get connected() {
      return client?.connected === true;
    },
    publish: async (message, timeoutMs) => {
      if (client?.connected !== true) return false;
      return publishOn(client, message, connector.clock, timeoutMs);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

async function keepConnecting(
  connector: MqttConnectorOptions,
  session: MqttOptions,
  stop: AbortSignal,
  onClient: (client: MqttClient | undefined) => void,
): Promise<void> {
  const { clock, random } = connector;
  let attempt = 0;
  while (!stop.aborted) {
    const lastedMs = await stayConnected(connector, session, stop, onClient);
    if (lastedMs >= STABLE_MS) attempt = 0;
    const pauseMs = backoffMs({
      attempt,
      baseMs: RECONNECT_BASE_MS,
      maxMs: RECONNECT_MS_MAX,
      fraction: random.fraction(),
    });
    await clock.sleep(pauseMs, stop);
    attempt += 1;
  }
}

/** One connection from attempt to end; how long it was up, in milliseconds, 0 if it never was. */
async function stayConnected(
  { url, clock, logger }: MqttConnectorOptions,
  session: MqttOptions,
  stop: AbortSignal,
  onClient: (client: MqttClient | undefined) => void,
): Promise<number> {
  const password = await session.password().catch((error: unknown) => {
    logger.warn("mqtt password cannot be made", { error });
    return undefined;
  });
  if (password === undefined || stop.aborted) return 0;
  const client = newClient(url, session, password);
  client.setMaxListeners(PUBLISHES_MAX);
  const ended = Promise.withResolvers<void>();
  let upSinceMs: number | undefined;
  client.stream.on(
    "data",
    packetLimit(PACKET_BYTES_MAX, () => {
      logger.warn("mqtt broker sends too large a packet", { bytesMax: PACKET_BYTES_MAX });
      client.stream.destroy();
    }),
  );
  client.on("error", (error) => {
    logger.debug("mqtt connection failed", { error: error.message });
    client.end(true);
  });
  client.on("close", () => ended.resolve());
  client.on("end", () => ended.resolve());
  client.on("message", (topic, payload) => session.onMessage(topic, new Uint8Array(payload)));
  client.on("connect", () => {
    upSinceMs = clock.monotonicMs();
    logger.info("mqtt connected");
    subscribe(client, session.subscriptions, logger);
    session.onConnected();
  });
  onClient(client);
  const close = () => void closeGently(client, clock).then(ended.resolve);
  stop.addEventListener("abort", close, { once: true });
  await ended.promise;
  stop.removeEventListener("abort", close);
  onClient(undefined);
  client.end(true);
  if (upSinceMs === undefined) return 0;
  logger.info("mqtt disconnected");
  session.onDisconnected();
  return clock.monotonicMs() - upSinceMs;
}

function newClient(url: string, session: MqttOptions, password: string): MqttClient {
  const { will } = session;
  return mqtt.connect(url, {
    protocolVersion: 4,
    clean: true,
    clientId: session.clientId,
    username: session.username,
    password,
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos, retain: will.retain },
    connectTimeout: CONNECT_MS_MAX,
    keepalive: KEEPALIVE_SEC,
    // The loop above reconnects, with a new password; mqtt.js must neither do that nor queue anything meanwhile.
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
  });
}

/** A refused subscription costs speed and nothing else, so it is only said. */
function subscribe(client: MqttClient, topics: readonly string[], logger: Logger): void {
  client.subscribe([...topics], { qos: 1 }, (error, granted) => {
    const isRefused = granted?.some(({ qos }) => qos === 128) === true;
    if (error !== null || isRefused) logger.warn("mqtt subscription refused", { topics: topics.length });
  });
}

async function publishOn(client: MqttClient, message: MqttMessage, clock: Clock, timeoutMs: number): Promise<boolean> {
  const settled = new AbortController();
  let isTaken = false;
  const settle = () => settled.abort();
  client.once("close", settle);
  const { topic, payload, qos, retain } = message;
  client.publish(topic, Buffer.from(payload), { qos, retain }, (error) => {
    isTaken = !settled.signal.aborted && (error === undefined || error === null);
    settle();
  });
  await clock.sleep(timeoutMs, settled.signal);
  settle();
  client.off("close", settle);
  return isTaken;
}

/** Says goodbye, so that the broker does not send the will; a broker that does not listen is left without one. */
async function closeGently(client: MqttClient, clock: Clock): Promise<void> {
  const closed = new AbortController();
  client.end(false, {}, () => closed.abort());
  await clock.sleep(CLOSE_MS_MAX, closed.signal);
  if (!closed.signal.aborted) client.end(true);
}

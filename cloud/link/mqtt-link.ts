import { connectAsync } from "mqtt";
import type { IClientOptions, MqttClient } from "mqtt";
import type { Logger } from "@muto/kit/logger";

/**
 * The control plane's own connection to a broker, embedded or external. MQTT 5 where the broker offers it, so that
 * several replicas share the work of reading reports; MQTT 3.1.1 otherwise. Losing it loses nothing: reports also come
 * over HTTP until they are acknowledged, and notifies are only hints.
 */
export interface MqttLink extends AsyncDisposable {
  readonly connected: boolean;
  /** True when the broker took it; false when it did not within the limit. */
  publishRetained(topic: string, payload: Uint8Array): Promise<boolean>;
}

export interface MqttLinkOptions {
  readonly url: string;
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  /** Topic filters; with a share name where the broker supports shared subscriptions. */
  readonly filters: readonly string[];
  readonly shareName: string;
  readonly onMessage: (topic: string, payload: Uint8Array) => void;
  /** Called after every successful connection and subscription, also the first. */
  readonly onReady: () => void;
  readonly logger: Logger;
}

const CONNECT_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 2_000;
const PUBLISH_TIMEOUT_MS = 10_000;
const KEEPALIVE_SEC = 30;

/** Starts connecting and returns at once; a broker that is away is retried for ever. */
export function openMqttLink(options: MqttLinkOptions): MqttLink {
  const { logger } = options;
  const stop = new AbortController();
  let client: MqttClient | undefined;
  const running = (async () => {
    let protocolVersion: 4 | 5 = 5;
    while (!stop.signal.aborted) {
      try {
        const connected: MqttClient = await connectAsync(options.url, clientOptions(options, protocolVersion));
        client = connected;
        await serve(connected, options, protocolVersion, stop.signal);
      } catch (error) {
        if (protocolVersion === 5 && refusedVersion(error)) {
          protocolVersion = 4;
          continue;
        }
        logger.warn("mqtt broker not reachable", { error: error instanceof Error ? error.message : String(error) });
      }
      client = undefined;
      await waited(RECONNECT_MS, stop.signal);
    }
  })();
  return {
    get connected() {
      return client?.connected ?? false;
    },
    publishRetained: async (topic, payload) => {
      const current = client;
      if (current === undefined || !current.connected) return false;
      const taken = current.publishAsync(topic, Buffer.from(payload), { qos: 1, retain: true }).then(
        () => true,
        () => false,
      );
      return await Promise.race([taken, waited(PUBLISH_TIMEOUT_MS, stop.signal).then(() => false)]);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await client?.endAsync(true).catch(() => {});
      await running;
    },
  };
}

function clientOptions(options: MqttLinkOptions, protocolVersion: 4 | 5): IClientOptions {
  return {
    clientId: options.clientId,
    protocolVersion,
    clean: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepalive: KEEPALIVE_SEC,
    // Reconnecting is ours, so that the protocol version can fall back and every connection subscribes anew.
    reconnectPeriod: 0,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
  };
}

/** Resolves when the connection ends. */
async function serve(client: MqttClient, options: MqttLinkOptions, version: 4 | 5, signal: AbortSignal): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    client.once("close", () => resolve());
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  client.on("error", (error) => options.logger.warn("mqtt connection error", { error: error.message }));
  client.on("message", (topic, payload) => options.onMessage(topic, payload));
  const filters =
    version === 5 ? options.filters.map((filter) => `$share/${options.shareName}/${filter}`) : options.filters;
  await client.subscribeAsync([...filters], { qos: 1 });
  options.logger.info("mqtt connected", { protocolVersion: version });
  options.onReady();
  await ended;
  await client.endAsync(true).catch(() => {});
}

/** Reason 0x84 of MQTT 5 and return code 1 of MQTT 3.1.1: unacceptable protocol version. */
function refusedVersion(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? error.code : undefined;
  return code === 1 || code === 0x84 || /protocol version|Connection closed|connack timeout/i.test(error.message);
}

async function waited(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}

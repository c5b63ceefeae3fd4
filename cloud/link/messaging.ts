import { readFile } from "node:fs/promises";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import { createWake } from "@muto/kit/wake";
import { TOPICS } from "@muto/spec";
import type { BrokerControl } from "../ports.ts";
import type { CloudSettings } from "../settings.ts";
import type { Database } from "../store/database.ts";
import { notifyQueue } from "../store/notifications.ts";
import type { VehicleAuth } from "../trust/vehicle-auth.ts";
import { startEmbeddedBroker } from "./embedded-broker.ts";
import type { EmbeddedBroker } from "./embedded-broker.ts";
import { createInbound } from "./inbound.ts";
import type { Inbox } from "./inbound.ts";
import { openMqttLink } from "./mqtt-link.ts";
import { runNotifier } from "./notifier.ts";

/** Everything about MQTT: the embedded broker or an external one, reports in, notifies out. */
export interface Messaging extends BrokerControl, AsyncDisposable {
  /** URL for vehicles; undefined without a broker. */
  readonly url: string | undefined;
  readonly droppedMessages: () => number;
}

export interface MessagingOptions {
  readonly settings: CloudSettings;
  readonly database: Database;
  readonly vehicleAuth: VehicleAuth;
  readonly inbox: Inbox;
  readonly publicUrl: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const CLOUD_USERNAME = "muto-cloud";
const SHARE_NAME = "muto-cloud";
const CONNECTIONS_MAX = 20_000;
/** Largest payload of the contract, and room for topic and headers. */
const PACKET_BYTES_MAX = Math.max(...Object.values(TOPICS).map(({ payloadBytesMax }) => payloadBytesMax)) + 4_096;

export async function startMessaging(options: MessagingOptions): Promise<Messaging> {
  const { settings, database, clock, random, logger } = options;
  if (settings.mqttUrl === "none") return withoutBroker();
  const stack = new AsyncDisposableStack();
  const password = Buffer.from(random.bytes(24)).toString("base64url");
  const broker = settings.mqttUrl === undefined ? stack.use(await embedded(options, password)) : undefined;
  const inbound = stack.use(createInbound({ tenant: settings.tenant, inbox: options.inbox, clock, logger }));
  const queue = notifyQueue(database.db, clock);
  const wake = createWake(clock);
  stack.use(await database.listen("muto_notify", () => wake.ring()));
  const stop = new AbortController();
  const url = settings.mqttUrl ?? `mqtt://${settings.bind}:${broker?.port ?? settings.mqttPort}`;
  const link = stack.use(
    openMqttLink({
      url,
      clientId: `muto-cloud-${Buffer.from(random.bytes(6)).toString("hex")}`,
      ...(await credentials(settings, broker === undefined ? undefined : password)),
      filters: [TOPICS.presence, TOPICS.reconcileReports, TOPICS.healthReports].map((topic) =>
        topic.filter({ tenant: settings.tenant }),
      ),
      shareName: SHARE_NAME,
      onMessage: (topic, payload) => inbound.receive(topic, payload),
      // A broker that was away may have lost what it retained; saying everything again is cheap and harmless.
      onReady: () =>
        void queue.forgetSent().then(
          () => wake.ring(),
          (error: unknown) => logger.warn("notifies not queued again", { error: String(error) }),
        ),
      logger,
    }),
  );
  const publish = async (topic: string, payload: Uint8Array) => await link.publishRetained(topic, payload);
  const notifying = keepNotifying(
    { queue, publish, tenant: settings.tenant, publicUrl: options.publicUrl, wake, logger },
    clock,
    stop.signal,
  );
  stack.defer(async () => {
    stop.abort();
    await notifying;
  });
  return {
    url,
    droppedMessages: () => inbound.dropped,
    state: () => (link.connected ? "ok" : "unreachable"),
    forget: async (vehicleId) => {
      broker?.kick(vehicleId);
      for (const topic of [TOPICS.desiredNotify])
        await link.publishRetained(topic.format({ tenant: settings.tenant, vehicleId }), new Uint8Array());
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

function withoutBroker(): Messaging {
  return {
    url: undefined,
    droppedMessages: () => 0,
    state: () => "none",
    forget: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

async function embedded(
  { settings, vehicleAuth, logger }: MessagingOptions,
  cloudPassword: string,
): Promise<EmbeddedBroker> {
  return await startEmbeddedBroker({
    host: settings.bind,
    port: settings.mqttPort,
    tenant: settings.tenant,
    connectionsMax: CONNECTIONS_MAX,
    packetBytesMax: PACKET_BYTES_MAX,
    logger,
    authenticate: async (username, password) => {
      if (username === CLOUD_USERNAME && password === cloudPassword) return { kind: "cloud" };
      const proven = await vehicleAuth.authenticate(password);
      return proven.ok && proven.vehicleId === username ? { kind: "vehicle", vehicleId: proven.vehicleId } : undefined;
    },
  });
}

async function credentials(
  settings: CloudSettings,
  embeddedPassword: string | undefined,
): Promise<{ readonly username?: string; readonly password?: string }> {
  if (embeddedPassword !== undefined) return { username: CLOUD_USERNAME, password: embeddedPassword };
  return {
    ...(settings.mqttUsername === undefined ? {} : { username: settings.mqttUsername }),
    ...(settings.mqttPasswordFile === undefined
      ? {}
      : { password: (await readFile(settings.mqttPasswordFile, "utf8")).trim() }),
  };
}

const RETRY_MS = 2_000;

/** A database that is away for a moment ends one turn of the notifier, not the notifier. */
async function keepNotifying(
  options: Parameters<typeof runNotifier>[0],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await runNotifier(options, signal);
    } catch (error) {
      options.logger.warn("notifies wait", { error: error instanceof Error ? error.message : String(error) });
      await clock.sleep(RETRY_MS, signal);
    }
  }
}

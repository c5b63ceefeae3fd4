import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { Aedes } from "aedes";
import type { AuthenticateError, Client } from "aedes";
import type { Logger } from "@muto/kit/logger";
import { topicRights } from "./topic-rights.ts";
import type { Principal } from "./topic-rights.ts";
import { guardPackets } from "./packet-guard.ts";

/**
 * The MQTT 3.1.1 broker inside the control plane, for a desk, a demonstration and small fleets. It keeps retained
 * messages in memory only; the notifier fills it again from the database at every connection. A vehicle may publish and
 * subscribe only its own topics, its client id must equal its vehicle id, and there are no wildcards for it.
 */
export interface EmbeddedBroker extends AsyncDisposable {
  readonly port: number;
  /** Ends the connection of a vehicle, for instance when its key is revoked. */
  kick(clientId: string): void;
}

export interface EmbeddedBrokerOptions {
  readonly host: string;
  /** 0 is any free port. */
  readonly port: number;
  readonly tenant: string;
  /** Who stands behind a user name and password; undefined refuses the connection. */
  readonly authenticate: (username: string, password: string) => Promise<Principal | undefined>;
  readonly connectionsMax: number;
  readonly packetBytesMax: number;
  readonly logger: Logger;
}

const NOT_AUTHORIZED = 5;
const CONNECT_TIMEOUT_MS = 10_000;
const HEARTBEAT_INTERVAL_MS = 60_000;

export async function startEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { host, port, tenant, authenticate, connectionsMax, packetBytesMax, logger } = options;
  const principals = new WeakMap<Client, Principal>();
  const clients = new Map<string, Client>();
  const broker = await Aedes.createBroker({
    connectTimeout: CONNECT_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_INTERVAL_MS,
    maxClientsIdLength: 128,
    authenticate: (client, username, password, done) => {
      void authenticate(username ?? "", password?.toString("utf8") ?? "").then(
        (principal) => {
          if (principal === undefined || (principal.kind === "vehicle" && principal.vehicleId !== client.id)) {
            logger.info("mqtt connection refused", { clientId: client.id });
            done(refusal(), false);
          } else {
            principals.set(client, principal);
            clients.set(client.id, client);
            done(null, true);
          }
        },
        (cause: unknown) => {
          logger.error("mqtt authentication failed", { error: String(cause) });
          done(refusal(), false);
        },
      );
    },
    authorizePublish: (client, packet, done) => {
      const principal = client === null ? undefined : principals.get(client);
      if (principal !== undefined && topicRights(principal, tenant).mayPublish(packet.topic, packet.retain)) done(null);
      else done(new Error("publish refused"));
    },
    authorizeSubscribe: (client, subscription, done) => {
      const principal = principals.get(client);
      const allowed = principal !== undefined && topicRights(principal, tenant).maySubscribe(subscription.topic);
      done(null, allowed ? subscription : null);
    },
  });
  broker.on("clientDisconnect", (client) => {
    if (clients.get(client.id) === client) clients.delete(client.id);
  });
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    if (sockets.size >= connectionsMax) {
      logger.warn("mqtt connection limit reached", { connectionsMax });
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    broker.handle(guardPackets(socket, packetBytesMax, () => logger.warn("mqtt packet too large", { packetBytesMax })));
  });
  const closeBroker = () => new Promise<void>((resolve) => broker.close(() => resolve()));
  try {
    await listen(server, port, host);
  } catch (error) {
    // Its timers would keep a program alive that has nothing left to do.
    await closeBroker();
    throw error;
  }
  return {
    port: portOf(server.address()),
    kick: (clientId) => clients.get(clientId)?.close(),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await closeBroker();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function refusal(): AuthenticateError {
  return Object.assign(new Error("not authorized"), { returnCode: NOT_AUTHORIZED });
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("the broker listens on no TCP port");
  return address.port;
}

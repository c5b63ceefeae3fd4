import { resolve } from "node:path";
import type { Clock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { Registry } from "@muto/oci/registry/registry";
import { handlers } from "./api/handlers.ts";
import type { ApiContext } from "./api/server/context.ts";
import { startFeed } from "./api/server/feed.ts";
import { createMetrics } from "./api/server/metrics.ts";
import { buildServer } from "./api/server/server.ts";
import { runController } from "./controller.ts";
import { startHeartbeats } from "./inventory/heartbeats.ts";
import { inboxOf } from "./inventory/inbox.ts";
import { startMessaging } from "./link/messaging.ts";
import type { Messaging } from "./link/messaging.ts";
import { startMaintenance } from "./maintenance.ts";
import type { CloudConfig } from "./ports.ts";
import type { Provisions } from "./provision.ts";
import { createReleaseSource } from "./release-source.ts";
import type { CloudSettings } from "./settings.ts";
import type { Database } from "./store/database.ts";
import { lastSignOfLife } from "./store/fleet.ts";
import { milliseconds } from "./store/rollout-moment.ts";
import { createVehicleAuth } from "./trust/vehicle-auth.ts";
import { VERSION } from "./version.ts";

/** Where a running control plane can be reached, and where its local files are. */
export interface Addresses {
  readonly [name: string]: string | undefined;
  readonly url: string;
  readonly docsUrl: string;
  readonly mqttUrl: string | undefined;
  readonly registryUrl: string | undefined;
  readonly trustFile: string;
  readonly operatorTokenFile: string | undefined;
}

export interface ServeOptions {
  readonly settings: CloudSettings;
  readonly provisions: Provisions;
  readonly database: Database;
  readonly registry: Registry | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export type Serving =
  | ({ readonly ok: true; readonly addresses: Addresses } & AsyncDisposable)
  | { readonly ok: false; readonly message: string };

/** What knows its address only once it listens. */
interface Late {
  url?: string;
  messaging?: Messaging;
}

/** Wires everything that works on one database: API, messaging, controller, maintenance. Listens last. */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { settings, database, registry, clock, random, logger } = options;
  const offlineAfterMs = settings.offlineAfterSec * 1000;
  const timed = { db: database.db, clock, logger, offlineAfterMs };
  await using stack = new AsyncDisposableStack();
  const stopping = new AbortController();
  const heartbeats = stack.use(startHeartbeats(timed));
  const feed = stack.use(await startFeed(database, clock, logger));
  const vehicleAuth = createVehicleAuth({ db: database.db, clock, tenant: settings.tenant });
  // Before anybody can be heard again.
  const lastHeardMs = milliseconds(await lastSignOfLife(database.db));
  const late: Late = {};
  const context = contextOf(options, late, { heartbeats, feed, stopping: stopping.signal });
  const first = registry === undefined ? {} : { first: registry.handle.bind(registry) };
  const server = buildServer({ context, handlers, vehicleAuth, ...first });
  stack.defer(async () => await server.close());
  try {
    late.url = await server.listen({ host: settings.bind, port: settings.httpPort });
    const inbox = inboxOf({ ...timed, heartbeats });
    const publicUrl = settings.publicUrl ?? late.url;
    const messaging = { settings, database, vehicleAuth, inbox, publicUrl, clock, random, logger };
    late.messaging = stack.use(await startMessaging(messaging));
  } catch (error) {
    return { ok: false, message: cannotListen(error, settings) };
  }
  const controlling = runController({ database, clock, random, logger, offlineAfterMs, lastHeardMs }, stopping.signal);
  stack.defer(async () => await controlling);
  stack.use(startMaintenance({ ...timed, database }));
  // Runs first of all at the end: followers of the live feed and the controller let go before anything closes under them.
  stack.defer(() => stopping.abort());
  const addresses = addressesOf(options, late);
  const owned = stack.move();
  return { ok: true, addresses, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

function contextOf(
  { settings, provisions, database, clock, random, logger }: ServeOptions,
  late: Late,
  running: Pick<ApiContext, "heartbeats" | "feed" | "stopping">,
): ApiContext {
  const http = systemHttp();
  const role = provisions.trust.roles.release;
  const registryUrl = () => settings.registryUrl ?? late.url ?? "";
  return {
    ...running,
    clock,
    random,
    http,
    logger,
    database,
    metrics: createMetrics(),
    assignmentSigner: provisions.assignmentSigner,
    releaseSource: createReleaseSource({ http, clock, registryUrl, role }),
    broker: {
      state: () => late.messaging?.state() ?? "none",
      forget: async (vehicleId) => await late.messaging?.forget(vehicleId),
    },
    config: configOf(settings, provisions),
  };
}

function configOf(settings: CloudSettings, provisions: Provisions): CloudConfig {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcJwksUrl: jwksUrl, oidcRoleClaim: roleClaim } = settings;
  const complete = issuer !== undefined && audience !== undefined && jwksUrl !== undefined;
  return {
    tenant: settings.tenant,
    version: VERSION,
    offlineAfterMs: settings.offlineAfterSec * 1000,
    releaseRole: provisions.trust.roles.release,
    people: { tokens: provisions.tokens, oidc: complete ? { issuer, audience, jwksUrl, roleClaim } : undefined },
  };
}

function addressesOf({ settings, provisions, registry }: ServeOptions, late: Late): Addresses {
  const url = late.url ?? "";
  return {
    url,
    docsUrl: `${url}/docs`,
    mqttUrl: late.messaging?.url,
    registryUrl: registry === undefined ? settings.registryUrl : `${url}/v2/`,
    trustFile: resolve(provisions.trustFile),
    operatorTokenFile: provisions.localToken === undefined ? undefined : resolve(provisions.localToken.file),
    token: provisions.localToken?.token,
  };
}

function cannotListen(error: unknown, settings: CloudSettings): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  if (code !== "EADDRINUSE") return `cannot listen on ${settings.bind}: ${code}`;
  const port = error instanceof Error && "port" in error ? error.port : undefined;
  const taken = [
    ...(port === settings.mqttPort ? [] : [`MUTO_HTTP_PORT is ${settings.httpPort}`]),
    ...(port === settings.httpPort ? [] : [`MUTO_MQTT_PORT is ${settings.mqttPort}`]),
  ];
  const which = typeof port === "number" ? `port ${port} is taken` : "a port is taken";
  return `${which} on ${settings.bind}: ${taken.join(", ")}; 0 takes any free one`;
}

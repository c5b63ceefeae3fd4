import { RateMeter } from "@muto/dds/reader/rate-meter";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { GraphReader } from "../ports.ts";
import type { ServiceRequest } from "../rosbridge/calls.ts";
import { createRosbridgeClient, type RosbridgeClient } from "../rosbridge/client.ts";
import { isRecord } from "../rosbridge/protocol.ts";
import type { WebSocketConnector } from "../rosbridge/web-socket.ts";
import { createDiagnostics, DIAGNOSTICS, type Diagnostics } from "./diagnostics.ts";
import { primaryState } from "./lifecycle.ts";
import { createWatchers } from "./watchers.ts";
import { createWatches, every, type Watches } from "./watches.ts";

export interface RosbridgeGraphOptions {
  readonly url: string;
  readonly connector: WebSocketConnector;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const CALL_TIMEOUT_MS = 3_000;
/** Several probes of one look ask once. */
const ANSWER_KEPT_MS = 500;
const POLL_MS = 5_000;
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
const MESSAGES_PER_SEC_MAX = 20_000;

/**
 * The ROS graph by way of rosbridge and rosapi. It has a connection of its own, so that a fast topic that somebody watches does
 * not hold up the signals that keep the vehicle safe.
 */
export function openRosbridgeGraph(options: RosbridgeGraphOptions): GraphReader & AsyncDisposable {
  const { clock } = options;
  const stop = new AbortController();
  const watchers = createWatchers();
  const client = createRosbridgeClient({
    ...options,
    messageBytesMax: MESSAGE_BYTES_MAX,
    messagesPerSecMax: MESSAGES_PER_SEC_MAX,
    onConnected: () => watchers.ring(),
    onDisconnected: () => watchers.ring(),
  });
  const rates = createWatches<RateMeter>(clock);
  const statuses = createWatches<Diagnostics>(clock);
  const nodes = kept(clock, () => namesFrom(client, NODES, "nodes", stop.signal));
  const publishers = keptByKey(clock, (topic: string) =>
    namesFrom(client, { ...PUBLISHERS, args: { topic } }, "publishers", stop.signal),
  );
  let before: readonly string[] | null = null;
  const running = every(POLL_MS, clock, stop.signal, async () => {
    rates.sweep();
    statuses.sweep();
    if (watchers.isEmpty()) return;
    const now = (await nodes())?.toSorted() ?? null;
    if (JSON.stringify(now) !== JSON.stringify(before)) watchers.ring();
    before = now;
  });
  const call = (request: Pick<ServiceRequest, "service" | "type">, signal: AbortSignal) =>
    valuesOf(client, { ...request, args: {} }, signal);
  return {
    node: async (name, signal) => (await unlessAborted(nodes(), signal))?.includes(name) ?? null,
    topic: async ({ topic, messageType, windowSec }, signal) => {
      const watched = watchRate(client, rates, clock, topic, messageType);
      const names = await unlessAborted(publishers(topic), signal);
      const connectedSinceMs = client.connectedSinceMs();
      if (watched === undefined || connectedSinceMs === undefined) return null;
      const nowMs = clock.monotonicMs();
      const { rateHz, newestAgeMs } = watched.value.read(nowMs, windowSec * 1000);
      return {
        hz: rateHz,
        ageMs: newestAgeMs ?? null,
        // Without rosapi what comes proves one publisher.
        publishers: names?.length ?? (rateHz > 0 ? 1 : 0),
        // What was missed while there was no connection is no low rate.
        isWindowFull: nowMs - Math.max(watched.sinceMs, connectedSinceMs) >= windowSec * 1000,
      };
    },
    lifecycle: async (node, signal) => {
      const values = await call({ service: `${node}/get_state`, type: "lifecycle_msgs/srv/GetState" }, signal);
      const state = values?.["current_state"];
      return isRecord(state) ? primaryState(state["id"]) : null;
    },
    trigger: async (service, signal) => {
      const success = (await call({ service, type: "std_srvs/srv/Trigger" }, signal))?.["success"];
      return typeof success === "boolean" ? success : null;
    },
    diagnostics: async () => {
      const watched = watchDiagnostics(client, statuses, clock);
      return client.connectedSinceMs() === undefined ? null : (watched?.value.read(clock.monotonicMs()) ?? null);
    },
    watch: (onChange) => watchers.add(onChange),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await client[Symbol.asyncDispose]();
      await running;
    },
  };
}

const NODES = { service: "/rosapi/nodes", type: "rosapi_msgs/srv/Nodes", args: {} };
const PUBLISHERS = { service: "/rosapi/publishers", type: "rosapi_msgs/srv/Publishers" };

function watchRate(
  client: RosbridgeClient,
  rates: Watches<RateMeter>,
  clock: Clock,
  topic: string,
  type: string,
): ReturnType<Watches<RateMeter>["ask"]> {
  return rates.ask(topic, () => {
    const sinceMs = clock.monotonicMs();
    const value = new RateMeter(sinceMs);
    const onMessage = () => value.record(clock.monotonicMs());
    return { value, sinceMs, subscription: client.subscribe({ topic, type, throttleMs: 0, raw: true, onMessage }) };
  });
}

function watchDiagnostics(
  client: RosbridgeClient,
  statuses: Watches<Diagnostics>,
  clock: Clock,
): ReturnType<Watches<Diagnostics>["ask"]> {
  return statuses.ask(DIAGNOSTICS.topic, () => {
    const value = createDiagnostics();
    const subscription = client.subscribe({
      ...DIAGNOSTICS,
      throttleMs: 0,
      raw: false,
      onMessage: (message) => {
        const list = message.kind === "read" && isRecord(message.content) ? message.content["status"] : undefined;
        if (!Array.isArray(list)) return;
        for (const status of list) {
          if (isRecord(status)) value.record(status["name"], status["level"], clock.monotonicMs());
        }
      },
    });
    return { value, sinceMs: clock.monotonicMs(), subscription };
  });
}

async function valuesOf(
  client: RosbridgeClient,
  request: Omit<ServiceRequest, "timeoutMs">,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>> | null> {
  const answer = await client.call({ ...request, timeoutMs: CALL_TIMEOUT_MS }, signal);
  return answer.ok && isRecord(answer.values) ? answer.values : null;
}

async function namesFrom(
  client: RosbridgeClient,
  request: Omit<ServiceRequest, "timeoutMs">,
  field: string,
  signal: AbortSignal,
): Promise<readonly string[] | null> {
  const names: unknown = (await valuesOf(client, request, signal))?.[field];
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : null;
}

/** One question at a time, and its answer for a moment; no answer is not kept. */
function kept<Answer>(clock: Clock, ask: () => Promise<Answer | null>): () => Promise<Answer | null> {
  let last: { readonly answer: Promise<Answer | null>; atMs: number } | undefined;
  return () => {
    if (last !== undefined && clock.monotonicMs() - last.atMs < ANSWER_KEPT_MS) return last.answer;
    const asked = {
      // As long as it is not answered, whoever asks shares it.
      atMs: Number.POSITIVE_INFINITY,
      answer: ask().then((answer) => {
        asked.atMs = answer === null ? Number.NEGATIVE_INFINITY : clock.monotonicMs();
        return answer;
      }),
    };
    last = asked;
    return asked.answer;
  };
}

const KEYS_MAX = 64;

function keptByKey<Answer>(
  clock: Clock,
  ask: (key: string) => Promise<Answer | null>,
): (key: string) => Promise<Answer | null> {
  const asks = new Map<string, () => Promise<Answer | null>>();
  return (key) => {
    const known = asks.get(key) ?? kept(clock, () => ask(key));
    if (asks.size < KEYS_MAX) asks.set(key, known);
    return known();
  };
}

async function unlessAborted<Answer>(answer: Promise<Answer | null>, signal: AbortSignal): Promise<Answer | null> {
  if (signal.aborted) return null;
  const aborted = Promise.withResolvers<null>();
  const onAbort = () => aborted.resolve(null);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([answer, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

import { once } from "node:events";
import { WebSocketServer, type WebSocket } from "ws";

/**
 * Stands in for a rosbridge server with rosapi, as rosbridge_suite for ROS 2 behaves: latched topics are heard late, throttled
 * ones keep the newest, NaN and infinity become null, a missing service is answered with `result: false`, and a subscription without a
 * type to a topic that nobody advertises is refused. `rosbridge.test.ts` checks it with the off-the-shelf client roslib.
 */
export interface RosbridgeDouble extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Makes a topic known; latched topics are given to late subscribers. */
  advertise(topic: string, options?: { readonly latched?: boolean; readonly publishers?: readonly string[] }): void;
  publish(topic: string, message: object): void;
  /** A latched publisher that publishes before the subscriptions that are there have found it: they never hear of it. */
  publishEarly(topic: string, message: object): void;
  /** Nodes that rosapi tells of. */
  nodes: readonly string[];
  /** Answers to service calls by name; a thrown error is the answer `result: false`. */
  readonly services: Map<string, (args: unknown) => unknown>;
  /** Everything that clients published, in order. */
  readonly published: readonly { readonly topic: string; readonly message: unknown }[];
  /** Everything that clients asked for, in order. */
  readonly asked: readonly ClientMessage[];
  /** Resolves as soon as the condition holds; looked at after everything that clients say. */
  until(condition: () => boolean): Promise<void>;
  subscribers(topic: string): number;
  clients(): number;
  /** Says something that is not of the protocol to everybody. */
  say(raw: string | Uint8Array): void;
  /** Stops reading and writing without closing, as a computer whose cable was pulled. */
  freeze(): void;
  /** Cuts every connection. */
  cut(): void;
}

export interface ClientMessage {
  readonly op: string;
  readonly topic?: string;
  readonly type?: string;
  readonly service?: string;
  readonly [key: string]: unknown;
}

export interface RosbridgeDoubleOptions {
  /** 0 takes any free one. */
  readonly port?: number;
  /** Without it /rosapi is not there. */
  readonly rosapi?: boolean;
}

interface Topic {
  readonly latched: boolean;
  readonly publishers: readonly string[];
  last?: string;
}

interface Subscription {
  readonly throttleMs: number;
  readonly isRaw: boolean;
  sentMs: number;
  waiting?: NodeJS.Timeout;
  newest: string;
}

export async function openRosbridgeDouble(options: RosbridgeDoubleOptions = {}): Promise<RosbridgeDouble> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: options.port ?? 0, perMessageDeflate: false });
  await once(server, "listening");
  const topics = new Map<string, Topic>();
  const clients = new Map<WebSocket, Map<string, Subscription>>();
  const published: { topic: string; message: unknown }[] = [];
  const asked: ClientMessage[] = [];
  const waiting = new Set<() => void>();
  const state = { nodes: ["/rosbridge_websocket", "/rosapi"] as readonly string[], isFrozen: false };
  const services = new Map<string, (args: unknown) => unknown>();
  if (options.rosapi ?? true) {
    services.set("/rosapi/nodes", () => ({ nodes: state.nodes }));
    services.set("/rosapi/topics", () => ({ topics: [...topics.keys()], types: [...topics].map(() => "") }));
    services.set("/rosapi/publishers", (args) => ({
      publishers: topics.get(String(isObject(args) ? args["topic"] : ""))?.publishers ?? [],
    }));
  }
  const answer = (client: WebSocket, message: object) => client.send(JSON.stringify(message));
  const advertise: RosbridgeDouble["advertise"] = (topic, { latched = false, publishers = ["/stack"] } = {}) => {
    topics.set(topic, { latched, publishers });
  };
  const handle = (client: WebSocket, message: ClientMessage) => {
    const subscriptions = clients.get(client);
    const { op, topic = "", service = "" } = message;
    if (op === "subscribe") {
      if (message.type === undefined && !topics.has(topic)) {
        return answer(client, { op: "status", level: "error", msg: `Topic ${topic} is not established` });
      }
      const isRaw = message["compression"] === "cbor-raw";
      const throttleMs = Number(message["throttle_rate"] ?? 0);
      const subscription: Subscription = { throttleMs, isRaw, sentMs: Number.NEGATIVE_INFINITY, newest: "" };
      subscriptions?.set(topic, subscription);
      const last = topics.get(topic)?.last;
      if (last !== undefined) deliver(client, topic, subscription, last);
    } else if (op === "unsubscribe") subscriptions?.delete(topic);
    else if (op === "advertise") advertise(topic, { latched: message["latch"] === true });
    else if (op === "publish") published.push({ topic, message: message["msg"] });
    else if (op === "call_service") answer(client, respond(services, service, message));
    else answer(client, { op: "status", level: "error", msg: `Unknown operation: ${op}` });
  };
  server.on("connection", (client) => {
    clients.set(client, new Map());
    client.on("error", () => client.terminate());
    client.on("close", () => {
      for (const { waiting: timer } of clients.get(client)?.values() ?? []) clearTimeout(timer);
      clients.delete(client);
    });
    client.on("message", (data) => {
      const message: unknown = JSON.parse(Buffer.isBuffer(data) ? data.toString("utf8") : "null");
      if (state.isFrozen || !isClientMessage(message)) return;
      asked.push(message);
      handle(client, message);
      for (const look of waiting) look();
    });
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  const { port } = address;
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    advertise,
    services,
    published,
    asked,
    get nodes() {
      return state.nodes;
    },
    set nodes(nodes) {
      state.nodes = nodes;
    },
    publish: (topic, message) => {
      if (state.isFrozen) return;
      // JSON writes NaN and infinity as null, as rosbridge does.
      const text = JSON.stringify({ op: "publish", topic, msg: message });
      const known = topics.get(topic);
      if (known?.latched === true) known.last = text;
      for (const [client, subscriptions] of clients) {
        const subscription = subscriptions.get(topic);
        if (subscription !== undefined) deliver(client, topic, subscription, text);
      }
    },
    until: async (condition) => {
      if (condition()) return;
      const reached = Promise.withResolvers<void>();
      const look = () => {
        if (condition()) reached.resolve();
      };
      waiting.add(look);
      await reached.promise;
      waiting.delete(look);
    },
    publishEarly: (topic, message) => {
      topics.set(topic, {
        latched: true,
        publishers: ["/stack"],
        last: JSON.stringify({ op: "publish", topic, msg: message }),
      });
    },
    subscribers: (topic) => [...clients.values()].filter((subscriptions) => subscriptions.has(topic)).length,
    clients: () => clients.size,
    say: (raw) => {
      for (const client of clients.keys()) client.send(raw);
    },
    freeze: () => {
      state.isFrozen = true;
      for (const client of clients.keys()) client.pause();
    },
    cut: () => {
      for (const client of clients.keys()) client.terminate();
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients.keys()) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** With a throttle the newest waits until it may be sent. */
function deliver(client: WebSocket, topic: string, subscription: Subscription, text: string): void {
  subscription.newest = text;
  if (subscription.waiting !== undefined) return;
  const send = () => {
    delete subscription.waiting;
    subscription.sentMs = performance.now();
    if (subscription.isRaw) client.send(rawMessage(topic));
    else client.send(subscription.newest);
  };
  const leftMs = subscription.sentMs + subscription.throttleMs - performance.now();
  if (leftMs <= 0) send();
  else subscription.waiting = setTimeout(send, leftMs);
}

/** `{op: "publish", topic, msg: {secs, nsecs, bytes}}` in CBOR. */
function rawMessage(topic: string): Uint8Array {
  return Buffer.concat([
    Buffer.of(0xa3),
    cborText("op"),
    cborText("publish"),
    cborText("topic"),
    cborText(topic),
    cborText("msg"),
    Buffer.of(0xa3),
    cborText("secs"),
    Buffer.of(0),
    cborText("nsecs"),
    Buffer.of(0),
    cborText("bytes"),
    Buffer.of(0x44, 0, 1, 0, 0),
  ]);
}

function cborText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = bytes.byteLength < 24 ? [0x60 | bytes.byteLength] : [0x78, bytes.byteLength];
  return Buffer.concat([Buffer.from(head), bytes]);
}

function respond(services: RosbridgeDouble["services"], service: string, { id, args }: ClientMessage): object {
  const reply = { op: "service_response", service, ...(id === undefined ? {} : { id }) };
  // A relative name is one of the server's own namespace, which is the root.
  const serve = services.get(service.startsWith("/") ? service : `/${service}`);
  if (serve === undefined) return { ...reply, result: false, values: `Service ${service} does not exist` };
  try {
    return { ...reply, result: true, values: serve(args) };
  } catch (error) {
    return { ...reply, result: false, values: String(error) };
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isClientMessage(value: unknown): value is ClientMessage {
  return isObject(value) && typeof value["op"] === "string";
}

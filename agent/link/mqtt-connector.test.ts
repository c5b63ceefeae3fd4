import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { Aedes } from "aedes";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import type { MqttMessage, MqttOptions, MqttSession } from "../ports.ts";
import { createMqttConnector } from "./mqtt-connector.ts";

const LIMIT_MS = 10_000;
const presence = "test/presence";
const notify = "test/notify";

/** A real broker on a free port that takes one password at a time. */
async function startBroker(port = 0) {
  const broker = await Aedes.createBroker();
  const state = { password: "first", passwords: [] as string[] };
  broker.authenticate = (_client, _username, password, done) => {
    const given = password?.toString() ?? "";
    state.passwords.push(given);
    const refusal = Object.assign(new Error("not authorized"), { returnCode: 5 });
    if (given === state.password) done(null, true);
    else done(refusal, false);
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    broker.handle(socket);
  });
  return {
    broker,
    state,
    port: await listen(server, port),
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      await new Promise<void>((resolve) => broker.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address: AddressInfo | string | null = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

/** A session that counts what happens to it; pauses between attempts take no time. */
function connect(port: number, password: () => Promise<string> = async () => "first") {
  const clock = { ...systemClock(), sleep: (ms: number, stop?: AbortSignal) => systemClock().sleep(ms / 50, stop) };
  const connector = createMqttConnector({
    url: `mqtt://127.0.0.1:${port}`,
    clock,
    random: seededRandom(1),
    logger: silentLogger,
  });
  const happened = { connected: Promise.withResolvers<void>(), disconnected: Promise.withResolvers<void>() };
  const messages: { readonly topic: string; readonly text: string }[] = [];
  let arrived = Promise.withResolvers<void>();
  const options: MqttOptions = {
    clientId: "vehicle-1",
    username: "vehicle-1",
    password,
    will: message(presence, "gone", { retain: true }),
    subscriptions: [notify],
    onMessage: (topic, payload) => {
      messages.push({ topic, text: new TextDecoder().decode(payload) });
      arrived.resolve();
    },
    onConnected: () => {
      happened.connected.resolve();
      happened.disconnected = Promise.withResolvers();
    },
    onDisconnected: () => {
      happened.disconnected.resolve();
      happened.connected = Promise.withResolvers();
    },
  };
  const session: MqttSession = connector.connect(options);
  return {
    session,
    messages,
    connected: () => happened.connected.promise,
    disconnected: () => happened.disconnected.promise,
    arrival: async () => {
      await arrived.promise;
      arrived = Promise.withResolvers();
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

function message(
  topic: string,
  text: string,
  flags: { readonly retain?: boolean; readonly qos?: 0 | 1 } = {},
): MqttMessage {
  return { topic, payload: new TextEncoder().encode(text), qos: flags.qos ?? 1, retain: flags.retain ?? false };
}

/** Resolves with the next message on a topic, as the broker sees it. */
function nextOn(broker: Aedes, topic: string): Promise<string> {
  return new Promise((resolve) => {
    broker.subscribe(
      topic,
      (packet, done) => {
        resolve(packet.payload.toString());
        done();
      },
      () => {},
    );
  });
}

test("mqtt: publishes and receives, retained messages too", { timeout: LIMIT_MS }, async () => {
  await using served = await startBroker();
  await using vehicle = connect(served.port);
  await vehicle.connected();
  assert.equal(vehicle.session.connected, true);
  const seen = nextOn(served.broker, "test/report");
  assert.equal(await vehicle.session.publish(message("test/report", "hello"), LIMIT_MS), true);
  assert.equal(await seen, "hello");
  assert.equal(await vehicle.session.publish(message(notify, "look", { retain: true }), LIMIT_MS), true);
  await vehicle.arrival();
  assert.deepEqual(vehicle.messages[0], { topic: notify, text: "look" });
});

test(
  "mqtt: the will is left behind when the connection dies, and not when it is closed",
  { timeout: LIMIT_MS },
  async () => {
    await using served = await startBroker();
    const wills: string[] = [];
    served.broker.subscribe(
      presence,
      (packet, done) => (wills.push(packet.payload.toString()), done()),
      () => {},
    );
    {
      await using polite = connect(served.port);
      await polite.connected();
    }
    assert.deepEqual(wills, []);
    await using vehicle = connect(served.port);
    await vehicle.connected();
    const gone = nextOn(served.broker, presence);
    served.cut();
    assert.equal(await gone, "gone");
  },
);

test(
  "mqtt: each attempt asks for a new password, and refusals do not end the attempts",
  { timeout: LIMIT_MS },
  async () => {
    await using served = await startBroker();
    const passwords = ["stale", "stale too", "first"];
    let asked = 0;
    await using vehicle = connect(served.port, async () => {
      asked += 1;
      const password = passwords[asked - 2];
      if (password === undefined) throw new Error("no key yet");
      return password;
    });
    await vehicle.connected();
    assert.deepEqual(served.state.passwords, passwords);
  },
);

test("mqtt: the broker goes away and comes back", { timeout: LIMIT_MS }, async () => {
  const first = await startBroker();
  await using vehicle = connect(first.port);
  await vehicle.connected();
  const lost = vehicle.disconnected();
  await first[Symbol.asyncDispose]();
  await lost;
  assert.equal(vehicle.session.connected, false);
  assert.equal(await vehicle.session.publish(message("test/report", "lost"), LIMIT_MS), false);
  await using second = await startBroker(first.port);
  const received: string[] = [];
  second.broker.subscribe(
    "test/report",
    (packet, done) => (received.push(packet.payload.toString()), done()),
    () => {},
  );
  await vehicle.connected();
  const found = nextOn(second.broker, "test/last");
  assert.equal(await vehicle.session.publish(message("test/report", "found"), LIMIT_MS), true);
  assert.equal(await vehicle.session.publish(message("test/last", "end"), LIMIT_MS), true);
  await found;
  assert.deepEqual(received, ["found"], "nothing was queued while away");
});

/** A broker of three lines that accepts every connection and then does as the test says. */
async function startHostile(then: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("data", () => {
      socket.write(Uint8Array.of(0x20, 2, 0, 0));
      then(socket);
    });
  });
  return {
    port: await listen(server, 0),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

test("mqtt: endless data: a packet of 200 MB is cut off at its header", { timeout: LIMIT_MS }, async () => {
  await using hostile = await startHostile((socket) => socket.write(Uint8Array.of(0x30, 0x80, 0xa0, 0xda, 0x5f)));
  await using vehicle = connect(hostile.port);
  await vehicle.connected();
  await vehicle.disconnected();
  assert.deepEqual(vehicle.messages, []);
});

test("mqtt: a report that nobody acknowledges was not taken", { timeout: LIMIT_MS }, async () => {
  await using silent = await startHostile(() => {});
  await using vehicle = connect(silent.port);
  await vehicle.connected();
  assert.equal(await vehicle.session.publish(message("test/report", "hello"), 100), false);
  assert.equal(await vehicle.session.publish(message("test/health", "hello", { qos: 0 }), LIMIT_MS), true);
});

test(
  "mqtt: a report is not taken when the connection ends before the acknowledgement",
  { timeout: LIMIT_MS },
  async () => {
    await using cutting = await startHostile((socket) => {
      socket.on("data", (chunk: Buffer) => {
        if (chunk.includes("hello")) socket.destroy();
      });
    });
    await using vehicle = connect(cutting.port);
    await vehicle.connected();
    const taken = vehicle.session.publish(message("test/report", "hello"), 60_000);
    const again = vehicle.session.publish(message("test/report", "hello"), 60_000);
    assert.deepEqual(await Promise.all([taken, again]), [false, false]);
  },
);

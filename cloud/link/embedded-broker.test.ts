import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import { after, before, test } from "node:test";
import { connectAsync } from "mqtt";
import type { MqttClient } from "mqtt";
import { silentLogger } from "@muto/kit/logger";
import { TOPICS } from "@muto/spec";
import { startEmbeddedBroker } from "./embedded-broker.ts";
import type { EmbeddedBroker } from "./embedded-broker.ts";
import { openMqttLink } from "./mqtt-link.ts";

const tenant = "default";
const notify = (vehicleId: string) => TOPICS.desiredNotify.format({ tenant, vehicleId });
const presence = (vehicleId: string) => TOPICS.presence.format({ tenant, vehicleId });
let broker: EmbeddedBroker;

before(async () => {
  broker = await startEmbeddedBroker({
    host: "127.0.0.1",
    port: 0,
    tenant,
    connectionsMax: 20,
    packetBytesMax: 64_000,
    logger: silentLogger,
    authenticate: async (username, password) => {
      if (password !== "right") return undefined;
      return username === "cloud" ? { kind: "cloud" } : { kind: "vehicle", vehicleId: username };
    },
  });
});

after(async () => {
  await broker[Symbol.asyncDispose]();
});

function connect(username: string, options: { clientId?: string; password?: string } = {}): Promise<MqttClient> {
  const { clientId = username, password = "right" } = options;
  const url = `mqtt://127.0.0.1:${broker.port}`;
  return connectAsync(url, { clientId, username, password, reconnectPeriod: 0, protocolVersion: 4 });
}

/** Resolves when the connection is gone, however it ended. */
function closing(client: MqttClient): Promise<void> {
  client.on("error", () => {});
  return new Promise((resolve) => client.once("close", () => resolve()));
}

test("a vehicle hears its own notify, retained, and nobody else's", async () => {
  const heard = Promise.withResolvers<string>();
  const ready = Promise.withResolvers<void>();
  const link = openMqttLink({
    url: `mqtt://127.0.0.1:${broker.port}`,
    clientId: "cloud-1",
    username: "cloud",
    password: "right",
    filters: [TOPICS.presence.filter({ tenant })],
    shareName: "muto",
    onMessage: heard.resolve,
    onReady: ready.resolve,
    logger: silentLogger,
  });
  await ready.promise;
  assert.ok(await link.publishRetained(notify("vehicle-a"), Buffer.from("1")));
  const vehicle = await connect("vehicle-a");
  const message = new Promise<string>((resolve) => vehicle.once("message", resolve));
  const granted = await vehicle.subscribeAsync(notify("vehicle-a"), { qos: 1 });
  assert.equal(granted[0]?.qos, 1);
  assert.equal(await message, notify("vehicle-a"));
  for (const foreign of [notify("vehicle-b"), "#", "muto/#", "muto/default/vehicles/+/desired/notify"]) {
    await assert.rejects(vehicle.subscribeAsync(foreign, { qos: 1 }), foreign);
  }
  await vehicle.publishAsync(presence("vehicle-a"), "{}", { qos: 1, retain: true });
  assert.equal(await heard.promise, presence("vehicle-a"));
  await vehicle.endAsync();
  await link[Symbol.asyncDispose]();
});

test("publishing as another vehicle, or a notify, ends the connection", async () => {
  for (const topic of [presence("vehicle-b"), notify("vehicle-a"), "anything"]) {
    const vehicle = await connect("vehicle-a");
    const closed = closing(vehicle);
    vehicle.publish(topic, "forged", { qos: 1 });
    await closed;
    await vehicle.endAsync(true);
  }
});

test("a wrong password and a client id that is not the vehicle id are refused", async () => {
  await assert.rejects(connect("vehicle-a", { password: "wrong" }), /Not authorized/);
  await assert.rejects(connect("vehicle-a", { clientId: "vehicle-b" }), /Not authorized/);
});

test("the will says that the vehicle is gone when its connection dies", async () => {
  const observer = await connect("cloud", { clientId: "observer" });
  await observer.subscribeAsync(TOPICS.presence.filter({ tenant }), { qos: 1 });
  const vehicle = await connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
    clientId: "vehicle-c",
    username: "vehicle-c",
    password: "right",
    reconnectPeriod: 0,
    will: { topic: presence("vehicle-c"), payload: Buffer.from("gone"), qos: 1, retain: true },
  });
  const gone = new Promise<void>((resolve) => {
    observer.on("message", (topic, payload) => {
      if (topic === presence("vehicle-c") && payload.toString() === "gone") resolve();
    });
  });
  vehicle.stream.destroy();
  await gone;
  await observer.endAsync();
  await vehicle.endAsync(true);
});

test("a packet over the limit cuts the connection before it is read (endless data)", async () => {
  const vehicle = await connect("vehicle-a");
  const closed = closing(vehicle);
  vehicle.publish(presence("vehicle-a"), Buffer.alloc(70_000), { qos: 1 });
  await closed;
  await vehicle.endAsync(true);
});

test("bytes that are not MQTT, and too many connections, are dropped", async () => {
  const garbage = connectSocket(broker.port, "127.0.0.1");
  garbage.write(Buffer.alloc(64, 0xff));
  await once(garbage, "close");
  const sockets = Array.from({ length: 24 }, () => connectSocket(broker.port, "127.0.0.1"));
  const dropped = sockets.map((socket) => once(socket, "close"));
  await Promise.race(dropped);
  for (const socket of sockets) socket.destroy();
});

test("a kicked vehicle loses its connection", async () => {
  const vehicle = await connect("vehicle-k");
  const closed = closing(vehicle);
  broker.kick("vehicle-k");
  await closed;
  await vehicle.endAsync(true);
});

test("one that cannot listen says so, and leaves nothing that keeps a program alive", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const before = timers();
  const options = { host: "127.0.0.1", port: broker.port, tenant, connectionsMax: 1, packetBytesMax: 1_000 };
  const starting = startEmbeddedBroker({ ...options, logger: silentLogger, authenticate: async () => undefined });
  await assert.rejects(starting, { code: "EADDRINUSE" });
  assert.ok(timers() <= before);
});

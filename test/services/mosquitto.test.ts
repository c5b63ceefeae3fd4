import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { connectAsync } from "mqtt";
import { silentLogger } from "@muto/kit/logger";
import { TOPICS } from "@muto/spec";
import { openMqttLink } from "../../cloud/link/mqtt-link.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { MosquittoServer } from "./mosquitto.ts";

const tenant = "default";
let broker: MosquittoServer;

before(async () => {
  broker = await startMosquitto({ tenant, usernames: ["vehicle-a", "vehicle-b"] });
});

after(async () => {
  await broker[Symbol.asyncDispose]();
});

function connectVehicle(vehicleId: string) {
  return connectAsync(broker.url, {
    clientId: vehicleId,
    username: vehicleId,
    password: broker.passwordOf(vehicleId),
    reconnectPeriod: 0,
  });
}

test("two replicas share the reports of MQTT 5, each message once, and come back after a restart", async () => {
  const heard: string[] = [];
  const arrived = { count: 0, resolve: () => {} };
  const expecting = (count: number) =>
    new Promise<void>((resolve) => {
      arrived.count = heard.length + count;
      arrived.resolve = resolve;
    });
  const readies = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const open = (replica: number) =>
    openMqttLink({
      url: broker.url,
      clientId: `muto-cloud-${replica}`,
      username: "muto-cloud",
      password: broker.passwordOf("muto-cloud"),
      filters: [TOPICS.reconcileReports.filter({ tenant })],
      shareName: "muto",
      onMessage: (_topic, payload) => {
        heard.push(Buffer.from(payload).toString());
        if (heard.length >= arrived.count) arrived.resolve();
      },
      onReady: () => readies[replica]?.resolve(),
      logger: silentLogger,
    });
  await using _first = open(0);
  await using _second = open(1);
  await Promise.all(readies.map(({ promise }) => promise));
  const send = async (from: number, to: number) => {
    const all = expecting(to - from);
    const vehicle = await connectVehicle("vehicle-a");
    const topic = TOPICS.reconcileReports.format({ tenant, vehicleId: "vehicle-a" });
    for (let index = from; index < to; index++) await vehicle.publishAsync(topic, String(index), { qos: 1 });
    await vehicle.endAsync();
    await all;
  };
  await send(0, 20);
  assert.equal(new Set(heard).size, 20);
  assert.equal(heard.length, 20);
  for (const index of [0, 1]) readies[index] = Promise.withResolvers<void>();
  await broker.restart();
  await Promise.all(readies.map(({ promise }) => promise));
  await send(20, 30);
  assert.equal(heard.length, 30);
});

test("the broker's own rules keep a vehicle to its topics, whatever it subscribes", async () => {
  const [own, other] = ["vehicle-a", "vehicle-b"].map((vehicleId) =>
    TOPICS.desiredNotify.format({ tenant, vehicleId }),
  );
  const vehicle = await connectVehicle("vehicle-a");
  const heard: string[] = [];
  const mine = new Promise<void>((resolve) => {
    vehicle.on("message", (topic) => {
      heard.push(topic);
      if (topic === own) resolve();
    });
  });
  await vehicle.subscribeAsync("#", { qos: 1 });
  const cloud = await connectAsync(broker.url, {
    username: "muto-cloud",
    password: broker.passwordOf("muto-cloud"),
    reconnectPeriod: 0,
  });
  await cloud.publishAsync(other ?? "", "of another vehicle", { qos: 1 });
  await cloud.publishAsync(own ?? "", "of this vehicle", { qos: 1 });
  await mine;
  assert.deepEqual(heard, [own]);
  await Promise.all([cloud.endAsync(), vehicle.endAsync()]);
});

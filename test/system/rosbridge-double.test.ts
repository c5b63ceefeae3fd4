/** The double behaves as a rosbridge server does, to the client that everybody uses. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Ros, Service, Topic } from "roslib";
import { openRosbridgeDouble } from "../stand-ins/rosbridge.ts";

async function connected() {
  const double = await openRosbridgeDouble();
  const ros = new Ros();
  const connection = once(ros, "connection");
  await ros.connect(double.url);
  await connection;
  return {
    double,
    ros,
    [Symbol.asyncDispose]: async () => {
      ros.close();
      await double[Symbol.asyncDispose]();
    },
  };
}

function messageOf<T>(ros: Ros, name: string, messageType: string, options: object = {}): Promise<T> {
  const topic = new Topic<T>({ ros, name, messageType, ...options });
  return new Promise((resolve) => topic.subscribe(resolve));
}

test("roslib: a streamed topic, NaN as null", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  const heard = messageOf(pair.ros, "/odom", "nav_msgs/msg/Odometry");
  await pair.double.until(() => pair.double.subscribers("/odom") === 1);
  pair.double.publish("/odom", { twist: Number.NaN });
  assert.deepEqual(await heard, { twist: null });
});

test("roslib: a latched topic is heard late", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  pair.double.advertise("/mode", { latched: true });
  pair.double.publish("/mode", { mode: 4 });
  assert.deepEqual(await messageOf(pair.ros, "/mode", "std_msgs/msg/UInt8"), { mode: 4 });
});

test("roslib: a throttled topic keeps the newest", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  const topic = new Topic<{ n: number }>({
    ros: pair.ros,
    name: "/n",
    messageType: "std_msgs/msg/Int32",
    throttle_rate: 50,
    queue_length: 1,
  });
  const heard: number[] = [];
  const second = new Promise<void>((resolve) => {
    topic.subscribe(({ n }) => {
      heard.push(n);
      if (heard.length === 2) resolve();
    });
  });
  await pair.double.until(() => pair.double.subscribers("/n") === 1);
  for (let n = 0; n < 10; n += 1) pair.double.publish("/n", { n });
  await second;
  assert.deepEqual(heard, [0, 9]);
});

test("roslib: raw messages are CBOR", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  const heard = messageOf<{ bytes: Uint8Array }>(pair.ros, "/points", "sensor_msgs/msg/PointCloud2", {
    compression: "cbor-raw",
  });
  await pair.double.until(() => pair.double.subscribers("/points") === 1);
  pair.double.publish("/points", {});
  assert.deepEqual(new Uint8Array((await heard).bytes), new Uint8Array([0, 1, 0, 0]));
});

test("roslib: nodes, publishers, a lifecycle state, and a service that is missing", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  pair.double.nodes = ["/planner"];
  const nodes = await new Promise((resolve, reject) => pair.ros.getNodes(resolve, reject));
  assert.deepEqual(nodes, ["/planner"]);
  pair.double.services.set("/planner/get_state", () => ({ current_state: { id: 3, label: "active" } }));
  const call = (name: string, serviceType: string) =>
    new Promise((resolve) => {
      new Service({ ros: pair.ros, name, serviceType }).callService({}, resolve, (error: string) => resolve({ error }));
    });
  assert.deepEqual(await call("/planner/get_state", "lifecycle_msgs/srv/GetState"), {
    current_state: { id: 3, label: "active" },
  });
  assert.match(JSON.stringify(await call("/nowhere", "std_srvs/srv/Trigger")), /does not exist/);
});

test("roslib: what it publishes arrives", { timeout: 10_000 }, async () => {
  await using pair = await connected();
  new Topic({ ros: pair.ros, name: "/ack", messageType: "std_msgs/msg/String" }).publish({ data: "x" });
  await pair.double.until(() => pair.double.published.length === 1);
  assert.deepEqual(pair.double.published, [{ topic: "/ack", message: { data: "x" } }]);
});

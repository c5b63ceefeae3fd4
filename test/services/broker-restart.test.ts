import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connectAsync } from "mqtt";
import { parseDesiredNotify, parseJson, TOPICS } from "@muto/spec";
import type { DesiredNotify, ReasonCode } from "@muto/spec";
import { parked } from "../../demo/signals.ts";
import { desire, reportsOf, startCloud } from "../system/world/cloud.ts";
import type { Cloud } from "../system/world/cloud.ts";
import { eventually } from "../system/world/eventually.ts";
import { publish } from "../system/world/publish.ts";
import { createVehicle, howThingsStand, reported, runs } from "../system/world/vehicle.ts";
import type { Vehicle } from "../system/world/vehicle.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { MosquittoServer } from "./mosquitto.ts";

const VEHICLE = "vehicle-a";
const ROUNDS = 4;
let folder: string;
let broker: MosquittoServer;
let cloud: Cloud;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "muto-broker-"));
  broker = await startMosquitto({ tenant: "default", usernames: [VEHICLE] });
  for (const name of ["muto-cloud", VEHICLE]) {
    writeFileSync(join(folder, name), `${broker.passwordOf(name)}\n`, { mode: 0o600 });
  }
  cloud = await startCloud({
    MUTO_MQTT_URL: broker.url,
    MUTO_MQTT_USERNAME: "muto-cloud",
    MUTO_MQTT_PASSWORD_FILE: join(folder, "muto-cloud"),
  });
});

after(async () => {
  await cloud[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

test("a broker that forgets every session and every retained message loses no report and no assignment", async () => {
  const first = await publish(cloud, { version: "1.0.0" });
  const second = await publish(cloud, { version: "2.0.0" });
  await using vehicle = await createVehicle(cloud, {
    id: VEHICLE,
    config: { cloud: { pollSec: 2, healthSec: 1 } },
    mqtt: { url: broker.url, username: VEHICLE, passwordFile: join(folder, VEHICLE) },
  });
  vehicle.startAgent();
  const before = await desire(cloud, first, [vehicle]);
  await reported(cloud, vehicle, { status: "converged", revision: before });

  vehicle.gateway.say({ ...parked, speedMps: 8, parked: false });
  const revision = await desire(cloud, second, [vehicle]);
  await reported(cloud, vehicle, { status: "blocked", codes: ["DENY_MOVING"], revision });
  // One report while the broker dies, one without it, and one while everybody is on the way back to it.
  for (let round = 0; round < ROUNDS; round++) {
    await drives(vehicle, "autonomous");
    await broker.stop();
    await drives(vehicle, "manual");
    await broker.start();
    await drives(vehicle, "autonomous");
    await drives(vehicle, "manual");
  }
  vehicle.gateway.say(parked);
  await reported(cloud, vehicle, { status: "converged", revision });
  await runs(cloud, vehicle, second);
  await eventually(
    "every report that the vehicle wrote is stored, with no number missing",
    async () => {
      const reports = (await reportsOf(cloud, vehicle.id)).map(({ report }) => report);
      const numbers = reports.map(({ seq }) => seq).toSorted((a, b) => a - b);
      const isWhole = numbers.every((seq, index) => seq === index + 1) && reports[0]?.status === "converged";
      return isWhole && numbers.length > 2 * ROUNDS ? true : undefined;
    },
    { explain: async () => await howThingsStand(cloud, vehicle) },
  );

  await vehicle.stopAgent();
  const wanted = await desire(cloud, first, [vehicle]);
  await broker.restart();
  const notify = await retainedNotify();
  assert.equal(notify.desiredStateRevision, wanted, "the control plane fills an empty broker again");
  vehicle.startAgent();
  await reported(cloud, vehicle, { status: "converged", revision: wanted });
});

/** Waits until the vehicle has noticed and written its report. */
async function drives(vehicle: Vehicle, mode: "autonomous" | "manual"): Promise<void> {
  const said = statusesSaid(vehicle);
  const codes: readonly ReasonCode[] = mode === "manual" ? ["DENY_MOVING"] : ["DENY_MOVING", "DENY_AUTONOMOUS_MODE"];
  vehicle.gateway.say({ ...parked, speedMps: 8, parked: false, mode });
  await eventually(`the vehicle refuses with ${codes.join(" ")}`, () =>
    statusesSaid(vehicle) > said ? true : undefined,
  );
}

function statusesSaid(vehicle: Vehicle): number {
  return vehicle.log().split('"message":"status"').length - 1;
}

/** What a vehicle finds at the broker when it comes. */
async function retainedNotify(): Promise<DesiredNotify> {
  const topic = TOPICS.desiredNotify.format({ tenant: "default", vehicleId: VEHICLE });
  const client = await connectAsync(broker.url, {
    clientId: VEHICLE,
    username: VEHICLE,
    password: broker.passwordOf(VEHICLE),
  });
  try {
    const message = new Promise<Uint8Array>((resolve) => client.once("message", (_topic, payload) => resolve(payload)));
    await client.subscribeAsync(topic, { qos: 1 });
    const json = parseJson(await message);
    const parsed = json.ok ? parseDesiredNotify(json.value) : json;
    assert.ok(parsed.ok, JSON.stringify(parsed));
    return parsed.value;
  } finally {
    await client.endAsync();
  }
}

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { parked } from "../../demo/signals.ts";
import { desire, startCloud, vehicleRecord } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { converge, vehicleOn } from "./world/settle.ts";
import { crasher } from "./world/stack.ts";
import { reported, runs } from "./world/vehicle.ts";

describe("without any broker", () => {
  let cloud: Cloud;
  let first: Published;
  let second: Published;

  before(async () => {
    cloud = await startCloud({ MUTO_MQTT_URL: "none" });
    first = await publish(cloud, { version: "1.0.0" });
    second = await publish(cloud, { version: "2.0.0" });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  test("a vehicle converges, refuses and goes back by polling alone", async () => {
    assert.equal(cloud.mqttUrl, undefined);
    await using vehicle = await vehicleOn(cloud, first, { id: "polling" });
    vehicle.gateway.say({ ...parked, speedMps: 8, parked: false });
    const revision = await desire(cloud, second, [vehicle]);
    await reported(cloud, vehicle, { status: "blocked", codes: ["DENY_MOVING"], revision });
    vehicle.gateway.say(parked);
    await reported(cloud, vehicle, { status: "converged", revision });
    const bad = await publish(cloud, { version: "3.0.0-crashing", programs: { main: crasher } });
    await desire(cloud, bad, [vehicle]);
    await reported(cloud, vehicle, { status: "rolled_back", codes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] });
    await runs(cloud, vehicle, second);
    const { connectivity, safetySnapshot } = await vehicleRecord(cloud, vehicle.id);
    assert.deepEqual([connectivity, safetySnapshot?.moving.value], ["online", false]);
  });

  test("a control plane that is started again is found again, with everything that it had stored", async () => {
    await using vehicle = await vehicleOn(cloud, first, { id: "waiting" });
    await cloud.restart();
    assert.equal((await vehicleRecord(cloud, vehicle.id)).convergence, "converged");
    await converge(cloud, vehicle, second);
  });
});

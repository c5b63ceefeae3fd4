import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseChangeInProgress, parseJson } from "@muto/spec";
import type { ChangeInProgress } from "@muto/spec";
import { layCable } from "../../demo/cut.ts";
import { parked } from "../../demo/signals.ts";
import { desire, reportsOf, startCloud, vehicleRecord } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { kill } from "./world/computer.ts";
import type { RunningWorkload } from "./world/computer.ts";
import { eventually } from "./world/eventually.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { converge, vehicleOn } from "./world/settle.ts";
import { crasher, neverMet } from "./world/stack.ts";
import { createVehicle, howThingsStand, reported, runs } from "./world/vehicle.ts";
import type { Vehicle } from "./world/vehicle.ts";

describe("hazards", { concurrency: 3 }, () => {
  let cloud: Cloud;
  let first: Published;
  let second: Published;
  let unready: Published;
  let crashing: Published;

  before(async () => {
    cloud = await startCloud();
    first = await publish(cloud, { version: "1.0.0" });
    second = await publish(cloud, { version: "2.0.0" });
    const healthModel = { readinessTimeoutSec: 1, probes: [neverMet] };
    unready = await publish(cloud, { version: "3.0.0-unready", healthModel });
    crashing = await publish(cloud, { version: "4.0.0-crashing", programs: { main: crasher } });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  test("H1: a policy without any requirement stops nothing on a vehicle that drives", async () => {
    await using vehicle = await vehicleOn(cloud, first, { id: "h1" });
    const before = vehicle.running();
    vehicle.gateway.say({ ...parked, speedMps: 30, parked: false, mode: "autonomous", batteryPct: 5 });
    const policy = { requireVehicleStationary: false, denyIfAutonomousMode: false, requireBatteryPctMin: 0 };
    const revision = await desire(cloud, second, [vehicle], { policy, acknowledgeWeakenedPolicy: true });
    await reported(cloud, vehicle, { status: "blocked", codes: ["DENY_MOVING", "DENY_AUTONOMOUS_MODE"], revision });
    assert.deepEqual(vehicle.running(), before);
    vehicle.gateway.say({ ...parked, mode: "autonomous", batteryPct: 5 });
    await reported(cloud, vehicle, { status: "blocked", codes: ["DENY_AUTONOMOUS_MODE"], revision });
    assert.deepEqual(vehicle.running(), before);
    // What the policy gave up and the vehicle's own floor does not demand is given up: the battery.
    vehicle.gateway.say({ ...parked, batteryPct: 5 });
    await reported(cloud, vehicle, { status: "converged", revision });
  });

  test("one bad release after the other: the vehicle is back on what it committed last, each time", async () => {
    await using vehicle = await vehicleOn(cloud, first, { id: "bad-days" });
    await converge(cloud, vehicle, second);
    for (const [bad, code] of [
      [unready, "READINESS_TIMEOUT"],
      [crashing, "CRASH_LOOP_DETECTED"],
    ] as const) {
      const revision = await desire(cloud, bad, [vehicle]);
      const back = await reported(cloud, vehicle, {
        status: "rolled_back",
        codes: [code, "ROLLBACK_APPLIED"],
        revision,
      });
      assert.equal(back.committed?.version, second.version);
      await runs(cloud, vehicle, second);
    }
    await crashLoop(vehicle, second);
    await reported(cloud, vehicle, {
      status: "rolled_back",
      codes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"],
      version: first.version,
    });
    await runs(cloud, vehicle, first);
    await crashLoop(vehicle, first);
    // Nothing is left to return to: that is named, and what was good last is started for ever.
    const codes = ["CRASH_LOOP_DETECTED", "ROLLBACK_FAILED"] as const;
    await reported(cloud, vehicle, { status: "failed", codes, version: first.version });
    await runs(cloud, vehicle, first);
  });

  test("H4: a stack that crashes in motion, long after its commit, is restarted and not replaced before the vehicle stands", async () => {
    await using vehicle = await vehicleOn(cloud, first, { id: "h4" });
    await converge(cloud, vehicle, second);
    vehicle.gateway.say({ ...parked, speedMps: 30, parked: false });
    await crashLoop(vehicle, second);
    const held = await reported(cloud, vehicle, {
      status: "blocked",
      codes: ["CRASH_LOOP_DETECTED", "DENY_MOVING"],
      version: second.version,
    });
    assert.equal(held.phase, "rollback");
    await runs(cloud, vehicle, second);
    vehicle.gateway.say(parked);
    await reported(cloud, vehicle, { status: "rolled_back", codes: ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] });
    await runs(cloud, vehicle, first);
  });

  test("a vehicle that lost its network after staging converges by itself and says so later", async () => {
    const port = (url: string | undefined) => Number(new URL(url ?? "").port);
    await using http = await layCable(port(cloud.url));
    await using mqtt = await layCable(port(cloud.mqttUrl));
    const relayed = `http://127.0.0.1:${http.port}`;
    await using vehicle = await vehicleOn(cloud, first, {
      id: "ferry",
      config: { cloud: { url: relayed }, registry: { url: relayed } },
      mqtt: { url: `mqtt://127.0.0.1:${mqtt.port}` },
    });
    vehicle.gateway.say({ ...parked, speedMps: 8, parked: false });
    const before = vehicle.running();
    const revision = await desire(cloud, second, [vehicle]);
    await reported(cloud, vehicle, { status: "blocked", codes: ["DENY_MOVING"], revision });
    for (const cable of [http, mqtt]) cable.cut();
    assert.deepEqual(vehicle.running(), before, "staged beside what runs");
    vehicle.gateway.say(parked);
    await runs(cloud, vehicle, second);
    await eventually("it says so to itself", () => {
      const told = vehicle
        .log()
        .split("\n")
        .findLast((line) => line.includes(revision));
      return told?.includes('"status":"converged"') === true ? true : undefined;
    });
    assert.equal(
      (await vehicleRecord(cloud, vehicle.id)).convergence,
      "blocked",
      "the control plane cannot know it yet",
    );
    const mendedAtMs = Date.now();
    for (const cable of [http, mqtt]) cable.mend();
    await reported(cloud, vehicle, { status: "converged", revision });
    const [stored] = (await reportsOf(cloud, vehicle.id)).filter(
      ({ report }) => report.status === "converged" && report.desiredStateRevision === revision,
    );
    assert.ok(Date.parse(stored?.report.at ?? "") < mendedAtMs && Date.parse(stored?.receivedAt ?? "") >= mendedAtMs);
  });

  test("H5: a change that the vehicle has to acknowledge begins when it has, and is announced until it is over", async () => {
    await using vehicle = await createVehicle(cloud, {
      id: "h5",
      config: { changeInProgress: { acknowledgementRequired: true, acknowledgementTimeoutSec: 60 } },
    });
    vehicle.startAgent();
    const revision = await desire(cloud, first, [vehicle]);
    const changeFile = join(vehicle.stateDir, "..", "change.json");
    const announced = await eventually(
      "the vehicle is told of the change",
      () => {
        const change = changeIn(changeFile);
        return change?.inProgress === true ? change : undefined;
      },
      { explain: async () => await howThingsStand(cloud, vehicle) },
    );
    await reported(cloud, vehicle, { status: "applying", revision });
    assert.deepEqual(vehicle.running(), []);
    vehicle.gateway.say({ ...parked, changeAcknowledged: announced.changeId });
    await reported(cloud, vehicle, { status: "converged", revision });
    await runs(cloud, vehicle, first);
    await eventually("the announcement is taken back", () =>
      changeIn(changeFile)?.inProgress === false ? true : undefined,
    );
  });

  /** Kills the workload, and what is started in its place, until it has ended more often than its health model allows. */
  async function crashLoop(vehicle: Vehicle, release: Published): Promise<void> {
    const killed = new Set<number>();
    for (let times = 0; times < 2; times++) {
      const [victim] = await eventually<readonly RunningWorkload[]>(
        `${release.version} runs on ${vehicle.id}, to be killed`,
        async () => {
          const running = vehicle.running();
          return running.length === 1 &&
            running.every(({ set, pid }) => set === release.manifestDigest && !killed.has(pid))
            ? running
            : undefined;
        },
        { explain: async () => await howThingsStand(cloud, vehicle) },
      );
      if (victim === undefined) throw new Error("nothing to kill");
      killed.add(victim.pid);
      kill(victim.pid);
    }
  }
});

function changeIn(file: string): ChangeInProgress | undefined {
  if (!existsSync(file)) return undefined;
  const json = parseJson(readFileSync(file));
  const parsed = json.ok ? parseChangeInProgress(json.value) : json;
  return parsed.ok ? parsed.value : undefined;
}

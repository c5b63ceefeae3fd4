import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { HealthReport } from "@muto/spec";
import { desire, startCloud } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { eventually } from "./world/eventually.ts";
import { readState } from "./world/journal.ts";
import { installNextVersion } from "./world/next-version.ts";
import { publish } from "./world/publish.ts";
import type { Published } from "./world/publish.ts";
import { sleeper } from "./world/stack.ts";
import { createVehicle, howThingsStand, reported, runs } from "./world/vehicle.ts";
import type { Vehicle } from "./world/vehicle.ts";
import { watchSets } from "./world/watch-sets.ts";

const KILLS = 51;
const VEHICLES = 3;
/** From the request to the commit, with some quiet before and after. */
const CHANGE_MS = 2_500;
const WORKLOADS = 2;
/** Limits of the stack and of the runtime: to stop what runs, and to start each workload. */
const STOP_AND_START_LIMIT_MS = 1_000 + WORKLOADS * 10_000;

describe("the stack does not depend on the agent (H2)", { concurrency: VEHICLES + 1 }, () => {
  const seed = Number(process.env["MUTO_TEST_SEED"] ?? randomInt(2 ** 31));
  process.stdout.write(`agent-kill: MUTO_TEST_SEED=${seed}\n`);
  let cloud: Cloud;
  let one: Published;
  let other: Published;

  before(async () => {
    cloud = await startCloud();
    const stack = {
      programs: { main: sleeper, second: sleeper },
      healthModel: { readinessTimeoutSec: 60, stableForSec: 0.5, probationSec: 1, maxRestarts: 10 },
    };
    one = await publish(cloud, { version: "1.0.0", ...stack });
    other = await publish(cloud, { version: "2.0.0", ...stack });
  });

  after(async () => {
    await cloud[Symbol.asyncDispose]();
  });

  for (let index = 0; index < VEHICLES; index++) {
    test(`killed at random moments, a real agent leaves the old or the new set running (vehicle ${index + 1})`, async () => {
      const random = randomFrom(seed + index);
      await using vehicle = await started(`killed-${index}`);
      using sets = watchSets(vehicle.stateDir);
      const seen = { idle: 0, changing: 0 };
      let wanted = one;
      while (seen.idle + seen.changing < KILLS / VEHICLES) {
        wanted = wanted === one ? other : one;
        const allowed = [one, other];
        const before = vehicle.running();
        const revision = await desire(cloud, wanted, [vehicle]);
        for (let kills = 1 + random(3); kills > 0; kills--) {
          await pause(random(CHANGE_MS));
          await vehicle.killAgent();
          const { trial, rollback, active } = await readState(vehicle.stateDir);
          assert.equal(rollback, null, "nothing failed");
          assert.ok(allowed.some(({ manifestDigest }) => manifestDigest === active?.manifestDigest));
          seen[trial === null ? "idle" : "changing"]++;
          const left = vehicle.running();
          await pause(random(300));
          if (trial === null) {
            assert.deepEqual(vehicle.running(), left, "outside a change nothing ends and nothing starts");
            if (active?.manifestDigest !== wanted.manifestDigest) assert.deepEqual(left, before);
          }
          await completeSet(vehicle, allowed);
        }
        await reported(cloud, vehicle, { status: "converged", codes: [], revision, version: wanted.version });
        await runs(cloud, vehicle, wanted, WORKLOADS);
      }
      assert.deepEqual(sets.mixed, [], "two sets never run at once");
      assert.ok(seen.changing > 0, JSON.stringify(seen));
    });
  }

  test("an agent that is upgraded in place is not noticed by the stack, and the new version looks after it", async () => {
    await using vehicle = await started("upgraded");
    const before = vehicle.running();
    const main = installNextVersion(join(cloud.folder, "next"), "9.9.9");
    await vehicle.stopAgent();
    assert.deepEqual(vehicle.running(), before);
    vehicle.startAgent(main);
    const { workloads, stack } = await healthAfter(vehicle, (report) => report.agentVersion === "9.9.9");
    assert.equal(stack?.version, one.version);
    assert.deepEqual(
      workloads.map(({ name, state }) => [name, state]),
      [
        ["main", "running"],
        ["second", "running"],
      ],
    );
    assert.deepEqual(vehicle.running(), before, "the same processes");
    const revision = await desire(cloud, other, [vehicle]);
    await reported(cloud, vehicle, { status: "converged", revision });
    await runs(cloud, vehicle, other, WORKLOADS);
  });

  async function started(id: string): Promise<Vehicle> {
    const vehicle = await createVehicle(cloud, { id });
    vehicle.startAgent();
    const revision = await desire(cloud, one, [vehicle]);
    await reported(cloud, vehicle, { status: "converged", revision });
    await runs(cloud, vehicle, one, WORKLOADS);
    return vehicle;
  }

  /** With an agent again, one whole set runs within the time that its stop and start may take. */
  async function completeSet(vehicle: Vehicle, allowed: readonly Published[]): Promise<void> {
    const said = starts(vehicle);
    vehicle.startAgent();
    await eventually("the agent is there again", () => (starts(vehicle) > said ? true : undefined));
    await eventually(
      `one whole set runs on ${vehicle.id}`,
      () => {
        const running = vehicle.running();
        const [first] = running;
        const whole = running.length === WORKLOADS && running.every(({ set }) => set === first?.set);
        return whole && allowed.some(({ manifestDigest }) => manifestDigest === first?.set) ? true : undefined;
      },
      { limitMs: STOP_AND_START_LIMIT_MS, explain: async () => await howThingsStand(cloud, vehicle) },
    );
  }

  async function healthAfter(vehicle: Vehicle, holds: (report: HealthReport) => boolean): Promise<HealthReport> {
    return await eventually(
      `a heartbeat of ${vehicle.id}`,
      async () => {
        const query = { vehicleId: vehicle.id, limit: 1 };
        const { body } = await cloud.session.call("listHealthReports", { query });
        const report = body.data[0]?.report;
        return report !== undefined && holds(report) ? report : undefined;
      },
      { explain: async () => await howThingsStand(cloud, vehicle) },
    );
  }
});

function starts(vehicle: Vehicle): number {
  return vehicle.log().split('"agent started"').length;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whole numbers below the limit, the same for the same seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

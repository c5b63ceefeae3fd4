import assert from "node:assert/strict";
import { eventually } from "../../system/world/eventually.ts";
import { createVehicle, reported } from "../../system/world/vehicle.ts";
import { desire, reportsOf } from "../../system/world/cloud.ts";
import { startDocker } from "./engines.ts";
import { current, engineOf, meddlingTests } from "./meddling.ts";
import { sleeper } from "./programs.ts";
import { engineStand, runsOn } from "./stand.ts";
import { runsAnew, runtimeSuite } from "./suite.ts";

runtimeSuite(
  "docker",
  async () => {
    const engine = await startDocker({ liveRestore: true });
    return { ...engineStand(engine), [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
  },
  (step) => {
    meddlingTests(step);

    step("a daemon that restarts with live-restore takes nothing along, and is watched again", async (world) => {
      const [engine, before] = [engineOf(world), await current(world)];
      await engine.stop();
      await engine.start();
      assert.deepEqual(await current(world), before);
      await engine.cli("rm", "-f", before.container ?? "");
      await runsAnew(world, world.good, before);
    });

    step("a daemon that takes its containers along is no crash of the stack", async (world) => {
      const { cloud } = world;
      await using engine = await startDocker({ liveRestore: false });
      const stand = engineStand(engine);
      const release = await stand.publish(cloud, {
        version: "1.0.0",
        name: "fragile",
        programs: { main: sleeper("fragile") },
        healthModel: { maxRestarts: 0 },
      });
      await using vehicle = await createVehicle(cloud, { id: "daemon-restarts", config: { runtime: stand.runtime } });
      const revision = await desire(cloud, release, [vehicle]);
      vehicle.startAgent();
      await reported(cloud, vehicle, { status: "converged", codes: [], revision });
      const [before] = await runsOn(stand, cloud, vehicle, release);
      await engine.stop();
      await engine.start();
      await eventually("it runs again", async () =>
        (await stand.running(vehicle)).find(({ instanceId }) => instanceId !== before?.instanceId),
      );
      const statuses = (await reportsOf(cloud, vehicle.id)).map(({ report }) => report.reasonCodes.join(" "));
      assert.deepEqual([...new Set(statuses)], [""]);
      assert.doesNotMatch(vehicle.log(), /"message":"workload ended"/);
    });
  },
);

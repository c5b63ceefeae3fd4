import assert from "node:assert/strict";
import { startPodman } from "./engines.ts";
import { current, engineOf, meddlingTests } from "./meddling.ts";
import { engineStand } from "./stand.ts";
import { runsAnew, runtimeSuite } from "./suite.ts";

runtimeSuite(
  "podman",
  async () => {
    const engine = await startPodman();
    return { ...engineStand(engine), [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
  },
  (step) => {
    meddlingTests(step);

    step("a service that is killed takes nothing along, and is watched again when it is back", async (world) => {
      const [engine, before] = [engineOf(world), await current(world)];
      await engine.kill();
      await engine.start();
      assert.deepEqual(await current(world), before);
      await engine.cli("rm", "-f", before.container ?? "");
      await runsAnew(world, world.good, before);
    });
  },
);

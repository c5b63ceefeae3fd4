import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import type { NativeWorkload } from "@muto/spec";
import type { Instance } from "../ports.ts";
import { runAgent } from "./test-agent.ts";
import { bench, hasEnded, processesWith, until, untilOutput, type Bench } from "./test-bench.ts";

/** Behaves as `ros2 launch` does; its header says how. */
const ROS2 = readFileSync(join(import.meta.dirname, "..", "..", "test", "stand-ins", "ros2"), "utf8");
const HOST = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` };

const endOf = (instance: Instance | undefined) => {
  if (instance?.state.kind !== "ended") return instance;
  const { requested, code, signal } = instance.state;
  return { requested, code, signal };
};

const launchSet = (world: Bench, file: string, details: Partial<NativeWorkload> = {}) =>
  world.set(
    { ros2: ROS2 },
    {
      argv: ["ros2", "launch", "stand_in", `${file}.launch.py`],
      env: { ROS2_STAND_IN_ESCALATION_MS: "100" },
      stop: { signal: "SIGINT", limitSec: 5 },
      ...details,
    },
  );

const launched = async (world: Bench, file: string, details: Partial<NativeWorkload> = {}) => {
  const id = await world.start(launchSet(world, file, details), "ros2");
  return id;
};

const isGone = (id: string) => assert.deepEqual(processesWith("MUTO_INSTANCE", id), [], "no orphan");
const asked = { requested: true, code: 0, signal: null };

for (const isolation of ["auto", "degraded"] as const) {
  describe(`a workload that is ros2 launch, isolation ${isolation}`, { concurrency: 4 }, () => {
    const options = { isolation, host: HOST, terminateLimitMs: 300 };

    test("the death of an optional node leaves it running, and is counted", async () => {
      await using world = bench(options);
      const id = await launched(world, "optional");
      const { deaths, state } = await until(world.runtime, id, (instance) => instance.deaths !== undefined);
      assert.deepEqual({ deaths, kind: state.kind }, { deaths: 1, kind: "running" });
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), asked);
      isGone(id);
    });

    test("the death of a required node ends it with 0, which nobody asked for", async () => {
      await using world = bench(options);
      const id = await launched(world, "required");
      assert.deepEqual(endOf(await until(world.runtime, id, hasEnded)), { requested: false, code: 0, signal: null });
      isGone(id);
    });

    test("a respawn storm is counted while it runs, and by the supervisor that takes over", async () => {
      await using world = bench(options);
      const id = await launched(world, "respawn");
      const before = await until(world.runtime, id, ({ deaths = 0 }) => deaths >= 3);
      process.kill(world.supervisorOf(id), "SIGKILL");
      const after = await until(world.runtime, id, ({ deaths = 0, state }) => {
        return state.kind === "running" && !state.supervised && deaths > (before.deaths ?? 0);
      });
      const told = (await untilOutput(world.runtime, id, "process has died [")).split("process has died [").length - 1;
      assert.ok((after.deaths ?? 0) <= told, `${after.deaths} of ${told}: none is counted twice`);
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      isGone(id);
    });

    test("a node that listens to nothing is killed by its launcher, or with it", async () => {
      for (const limitSec of [5, 0.05]) {
        await using world = bench(options);
        const id = await launched(world, "stubborn", { stop: { signal: "SIGINT", limitSec } });
        await untilOutput(world.runtime, id, "talking");
        assert.deepEqual(await world.runtime.stop(id), { ok: true });
        isGone(id);
      }
    });

    test("SIGTERM makes orphans of its nodes, but not here", async () => {
      await using world = bench(options);
      const id = await launched(world, "talker", { stop: { signal: "SIGTERM", limitSec: 5 } });
      await untilOutput(world.runtime, id, "talking");
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      assert.deepEqual(endOf((await world.runtime.inspect())[0]), { requested: true, code: 143, signal: null });
      isGone(id);
    });

    test("its nodes end with it when it is killed", async () => {
      await using world = bench(options);
      const id = await launched(world, "talker");
      await untilOutput(world.runtime, id, "talking");
      const [instance] = await world.runtime.inspect();
      process.kill(instance?.state.kind === "running" ? instance.state.pid : 0, "SIGKILL");
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual(endOf(ended), { requested: false, code: null, signal: "SIGKILL" });
      isGone(id);
    });

    test("neither an agent nor a supervisor that is gone makes orphans of its nodes", async () => {
      await using world = bench(options);
      const set = launchSet(world, "talker");
      const agent = runAgent({ runs: world.runs, isolation, host: HOST }, set, ["ros2"]);
      await agent.said("all started");
      await agent.kill();
      await untilOutput(world.runtime, "agent-ros2", "talking");
      process.kill(world.supervisorOf("agent-ros2"), "SIGKILL");
      assert.deepEqual(await world.runtime.stop("agent-ros2"), { ok: true });
      isGone("agent-ros2");
      while (processesWith("MUTO_RUN", join(world.runs, "agent-ros2")).length > 0) await systemClock().sleep(5);
    });
  });
}

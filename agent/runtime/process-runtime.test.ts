import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bench, hasEnded, processesWith, until, untilOutput } from "./test-bench.ts";

const PATIENT = `#!/bin/sh
trap 'exit 7' INT
echo ready
while :; do sleep 0.02; done
`;

for (const isolation of ["auto", "degraded"] as const) {
  describe(`the process runtime, isolation ${isolation}`, () => {
    test("starts, shows and stops a workload", async () => {
      await using world = bench({ isolation });
      const set = world.set({ nav: PATIENT });
      const id = await world.start(set, "nav");
      await untilOutput(world.runtime, id, "ready");
      const [instance] = await world.runtime.inspect();
      assert.equal(instance?.instanceId, id);
      assert.equal(instance.set, set.manifestDigest);
      assert.equal(instance.isolation, isolation === "auto" ? "full" : "degraded");
      assert.equal(instance.state.kind, "running");
      assert.deepEqual(await world.runtime.stop(id), { ok: true });
      const ended = await until(world.runtime, id, hasEnded);
      assert.deepEqual({ ...ended.state, atMs: 0 }, { kind: "ended", requested: true, code: 7, signal: null, atMs: 0 });
      assert.deepEqual(await processesWith("MUTO_INSTANCE", id), []);
      await world.runtime.forget(id);
      assert.deepEqual(await world.runtime.inspect(), []);
    });
  });
}

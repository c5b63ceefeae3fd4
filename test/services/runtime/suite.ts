import assert from "node:assert/strict";
import { describe, it, before, after } from "node:test";
import { startCloud, type Cloud } from "../../system/world/cloud.ts";
import { desire } from "../../system/world/cloud.ts";
import { createVehicle, reported, type Vehicle } from "../../system/world/vehicle.ts";
import { runsOn, type Stand } from "./stand.ts";

const SLEEPS = "#!/bin/sh\necho up\nexec sleep 1000000\n";

export function runtimeSuite(name: string, open: () => Promise<Stand & AsyncDisposable>): void {
  describe(name, () => {
    let stand: Stand & AsyncDisposable;
    let cloud: Cloud;
    before(async () => {
      [stand, cloud] = await Promise.all([open(), startCloud()]);
    });
    after(async () => {
      await stand[Symbol.asyncDispose]();
      await cloud[Symbol.asyncDispose]();
    });

    it("a release is applied by digest", async () => {
      const release = await stand.publish(cloud, { version: "1.0.0", programs: { main: SLEEPS } });
      const vehicle = await createVehicle(cloud, { id: `thin-${name}`, config: { runtime: stand.runtime } });
      try {
        vehicle.startAgent();
        await desire(cloud, release, [vehicle]);
        await reported(cloud, vehicle, { status: "converged", codes: [] });
        const [main] = await runsOn(stand, cloud, vehicle, release);
        assert.equal(main?.workload, "main");
      } finally {
        await vehicle[Symbol.asyncDispose]();
      }
    });
  });
}

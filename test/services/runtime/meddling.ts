import assert from "node:assert/strict";
import { engineAt } from "@muto/agent/runtime/oci/engine";
import { imageArchive, readImage } from "@muto/agent/runtime/oci/image-archive";
import type { BlobReader } from "@muto/agent/ports";
import type { SourceImage } from "@muto/oci/image-source";
import { desire } from "../../system/world/cloud.ts";
import { eventually } from "../../system/world/eventually.ts";
import { createVehicle, reported } from "../../system/world/vehicle.ts";
import { busyboxPath, type TestEngine } from "./engines.ts";
import { sleeper } from "./programs.ts";
import { runsOn, type Running } from "./stand.ts";
import { runsAnew, type Step, type World } from "./suite.ts";
import { tinyImage } from "./tiny-image.ts";

/** What others may do to containers behind the agent's back, and what a vehicle does not give. */
export function meddlingTests(step: Step): void {
  step("a container that was removed is made again", async (world) => {
    const [engine, before] = [engineOf(world), await current(world)];
    await engine.cli("rm", "-f", before.container ?? "");
    await runsAnew(world, world.good, before);
  });

  step(
    "a container of another image under our name is not taken for ours: it is stopped, and the real one started",
    async (world) => {
      const { vehicle, good } = world;
      const [engine, before] = [engineOf(world), await current(world)];
      const foreign = tinyImage(await busyboxPath(), { main: sleeper("foreign") });
      await loadInto(engine, foreign, "localhost/foreign:1");
      const format = "{{range $name, $value := .Config.Labels}}{{$name}}={{$value}}\n{{end}}";
      const labels = (await engine.cli("inspect", "-f", format, before.container ?? "")).split("\n");
      const marks = labels.filter((label) => label.startsWith("muto.")).flatMap((label) => ["-l", label]);
      await vehicle.stopAgent();
      await engine.cli("rm", "-f", before.container ?? "");
      const name = `muto-${vehicle.id}-${before.instanceId}`;
      const args = ["--network", "none", "--name", name, ...marks, "localhost/foreign:1", "/bin/sleep", "1000"];
      const impostor = (await engine.cli("run", "-d", "--init", ...args)).trim();
      vehicle.startAgent();
      const running = await eventually("the impostor has gone and the real one runs", async () => {
        const found = await world.stand.running(vehicle);
        return found.length === 1 && found[0]?.container !== impostor ? found : undefined;
      });
      assert.equal(running[0]?.set, good.manifestDigest);
      assert.notEqual(running[0]?.instanceId, before.instanceId);
    },
  );

  step("containers of others are none of our business", async (world) => {
    const { good } = world;
    const engine = engineOf(world);
    const other = (
      await engine.cli("run", "-d", "--init", "--network", "none", "localhost/foreign:1", "/bin/sleep", "1000")
    ).trim();
    const before = await current(world);
    await engine.cli("rm", "-f", before.container ?? "");
    await runsAnew(world, good, before);
    assert.equal((await engine.cli("inspect", "-f", "{{.State.Running}}", other)).trim(), "true");
    await engine.cli("kill", other);
    await engine.cli("rm", other);
  });

  step("what the vehicle does not give is refused before anything is fetched, with evidence", async (world) => {
    const { stand, cloud, vehicle, good } = world;
    const release = await stand.publish(cloud, {
      version: "1.6.0-greedy",
      programs: { main: sleeper("greedy") },
      container: {
        privileged: true,
        devices: [{ path: "/dev/null" }],
        mounts: [{ source: "/etc", target: "/host" }],
        capabilities: ["SYS_ADMIN"],
      },
    });
    const revision = await desire(cloud, release, [vehicle]);
    const codes = ["DESIRED_STATE_REJECTED"] as const;
    const refused = await reported(cloud, vehicle, { status: "failed", codes, revision, version: good.version });
    const fact = refused.evidence.find((item) => item.kind === "compatibility");
    assert.deepEqual(fact?.kind === "compatibility" && [fact.fact, ...fact.required], [
      "runtime",
      "privileged",
      "capability",
      "device",
      "mount",
    ]);
    await runsOn(stand, cloud, vehicle, good);
  });

  step("a vehicle without an engine refuses images and says so", async (world) => {
    const { cloud, good } = world;
    await using plain = await createVehicle(cloud, { id: `plain-${world.stand.name}` });
    const revision = await desire(cloud, good, [plain]);
    plain.startAgent();
    const codes = ["DESIRED_STATE_REJECTED"] as const;
    const refused = await reported(cloud, plain, { status: "failed", codes, revision });
    const fact = refused.evidence.find((item) => item.kind === "compatibility");
    assert.deepEqual(fact?.kind === "compatibility" && fact.required, ["container engine"]);
  });
}

export function engineOf({ stand }: World): TestEngine {
  return stand.engine ?? assert.fail("there is no engine");
}

export async function current(world: World): Promise<Running> {
  const [running] = await runsOn(world.stand, world.cloud, world.vehicle, world.good);
  return running ?? assert.fail("nothing runs");
}

async function loadInto(engine: TestEngine, image: SourceImage, tag: string): Promise<void> {
  using client = engineAt(engine.socket);
  const blobs: BlobReader = async function* (digest) {
    if (digest === image.digest) return yield image.manifestBytes;
    await using blob = await image.blob(digest).open();
    yield await blob.read(0, 100_000_000);
  };
  const content = (await readImage(image.digest, blobs)) ?? assert.fail("no image");
  const loaded = await client.load(imageArchive(content, tag, blobs), new AbortController().signal);
  assert.ok(loaded.ok);
}

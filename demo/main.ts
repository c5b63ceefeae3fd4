import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { layCable } from "./cut.ts";
import { startControlPlane } from "./control-plane.ts";
import { openDemoEngine } from "./engine.ts";
import { createExpectations } from "./expectations.ts";
import { ferry, fleet } from "./fleet.ts";
import { offlineAct } from "./offline.ts";
import { parked } from "./signals.ts";
import { fleetRuns, muto, publish, rollOutBad, rollOutGood } from "./story.ts";
import type { Stage } from "./story.ts";
import { createVehicle } from "./vehicle.ts";
import type { DemoVehicle, VehicleSpec } from "./vehicle.ts";
import { stopWorkloads } from "./workloads.ts";

/**
 * The main job of Muto in front of your eyes: a control plane, seven real agents with a stack of three processes each, a
 * good release, a bad one, and a vehicle that loses its network. Ends with 0 only if everything it claims was seen in the
 * control plane's records.
 */
const HEALTHY_SCAN_HZ = 5;
/** More than the lidar sends: the planner never becomes healthy. */
const UNHEALTHY_SCAN_HZ = 50;

const { values } = parseArgs({
  options: {
    runtime: { type: "string" },
    plant: { type: "string" },
    keep: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help === true) {
  console.log("usage: npm run demo [-- --runtime oci] [-- --plant good-release-unhealthy] [-- --keep]");
  console.log("  --runtime oci                   runs the stacks in containers, not as processes");
  console.log("  --plant good-release-unhealthy  breaks the health of 1.0.0: the demonstration must fail and say what");
  console.log("  --keep                          leaves the folder with every log behind");
  process.exit(0);
}
if (values.runtime !== undefined && values.runtime !== "oci" && values.runtime !== "process") {
  console.error(`--runtime takes process or oci, not ${values.runtime}`);
  process.exit(2);
}
if (values.plant !== undefined && values.plant !== "good-release-unhealthy") {
  console.error(`--plant takes good-release-unhealthy, not ${values.plant}`);
  process.exit(2);
}

const startedMs = performance.now();
const folder = mkdtempSync(join(tmpdir(), "muto-demo-"));
const engine = values.runtime === "oci" ? await openDemoEngine(join(folder, "engine")) : undefined;
if (values.runtime === "oci" && engine === undefined) {
  rmSync(folder, { recursive: true, force: true });
  console.error(
    "no container engine was found: neither Podman nor Docker listens on its usual socket, and there is no podman",
  );
  console.error(
    "install one and try again: apt-get install podman runc catatonit netavark, or apt-get install docker.io",
  );
  process.exit(2);
}
const expectations = createExpectations();
const stop = new AbortController();
const closing: (() => Promise<void>)[] = engine === undefined ? [] : [async () => await engine[Symbol.asyncDispose]()];
process.once("SIGINT", () => stop.abort());
const say = (line: string) =>
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s  ${line}`);

try {
  await Promise.race([
    play(),
    new Promise((_, reject) => stop.signal.addEventListener("abort", () => reject(new Error("interrupted")))),
  ]);
} catch (error) {
  expectations.expect(
    "the demonstration ran to its end",
    false,
    error instanceof Error ? error.message : String(error),
  );
} finally {
  say("stopping agents, workloads and the control plane");
  for (const close of closing.toReversed()) await close();
}
console.log(`\n${expectations.summary()}`);
const failed = expectations.failed;
const keep = values.keep === true || failed.length > 0;
if (!keep) rmSync(folder, { recursive: true, force: true });
console.log(
  failed.length === 0
    ? "everything was seen in the control plane's records"
    : `not seen: ${failed.join("; ")}\nlogs: ${folder}`,
);
say("done");
process.exit(failed.length === 0 ? 0 : 1);

async function play(): Promise<void> {
  if (engine !== undefined) say(`stacks run in containers of ${engine.what}`);
  say("a control plane on embedded defaults");
  const plane = await startControlPlane(join(folder, "cloud"), stop.signal);
  closing.push(plane.stop);
  say(`  API ${plane.url}, docs at ${plane.url}/docs`);
  const [httpCable, mqttCable] = [await layCable(plane.httpPort), await layCable(plane.mqttPort)];
  closing.push(async () => {
    await httpCable[Symbol.asyncDispose]();
    await mqttCable[Symbol.asyncDispose]();
  });
  const engineSocket = engine?.socket;
  const stage: Stage = { plane, folder, engineSocket, vehicles: new Map(), expectations, say };

  say("release 1.0.0 is built, pushed, signed and registered");
  await publish(stage, "1.0.0", values.plant === undefined ? HEALTHY_SCAN_HZ : UNHEALTHY_SCAN_HZ);

  say("a vehicle takes its assignment, and then loses its network before its window opens");
  const relayed = { url: `http://127.0.0.1:${httpCable.port}`, mqttUrl: `mqtt://127.0.0.1:${mqttCable.port}` };
  const away = await addVehicle(stage, { ...ferry, ...relayed, ring: "2", address: "127.0.71.7", engineSocket });
  away.gateway.say(parked);
  away.startAgent();
  const offline = offlineAct(stage, away, [httpCable, mqttCable]);
  await offline.depart();

  say("six vehicles enrol, in three groups of region and model");
  const direct = { url: plane.url, mqttUrl: `mqtt://127.0.0.1:${plane.mqttPort}` };
  for (const [index, entry] of fleet.entries()) {
    const { diskReserveMb } = entry.obstacle;
    const spec = { ...entry, ...direct, ring: "1", address: `127.0.71.${index + 1}`, engineSocket };
    const vehicle = await addVehicle(stage, diskReserveMb === undefined ? spec : { ...spec, diskReserveMb });
    vehicle.gateway.say(entry.obstacle.signals);
    if (entry.obstacle.heldByTechnician === true)
      await muto(stage, ["agent", "hold", "--config", vehicle.configFile, "--why", "maintenance"]);
    vehicle.startAgent();
  }

  say("release 1.0.0 goes out: canaries, then the wave; every vehicle decides for itself when");
  const good = await rollOutGood(stage);
  if (good?.status !== "completed") return say("the rest of the story needs 1.0.0");
  say("release 1.1.0 is bad: its planner never becomes healthy");
  await publish(stage, "1.1.0", UNHEALTHY_SCAN_HZ);
  await rollOutBad(stage);
  await fleetRuns(stage, "1.0.0");
  say("the vehicle without network");
  await offline.arrive();
  await evidence(stage);
}

async function addVehicle(stage: Stage, spec: VehicleSpec): Promise<DemoVehicle> {
  const { session } = stage.plane;
  const tags = { model: spec.model, region: spec.region, ring: spec.ring };
  await session.call("createVehicle", { body: { id: spec.id, tags } });
  const { body } = await session.call("createClaim", { params: { id: spec.id }, body: {} });
  const home = join(folder, spec.id);
  const vehicle = createVehicle(spec, body.data.claim, stage.plane, home);
  closing.push(async () => {
    vehicle.gateway[Symbol.dispose]();
    await vehicle.stopAgent();
    await stopWorkloads(home);
  });
  stage.vehicles.set(spec.id, vehicle);
  return vehicle;
}

async function evidence(stage: Stage): Promise<void> {
  const printed = await muto(stage, ["audit", "verify"]);
  stage.expectations.expect(
    "the audit log has no change and no gap",
    /none changed, none missing/.test(printed),
    printed.trim(),
  );
  console.log(`\n${await muto(stage, ["vehicle", "list"])}`);
  console.log(await muto(stage, ["rollout", "list"]));
}

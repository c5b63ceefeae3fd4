import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { desire, startCloud, type Cloud } from "../../system/world/cloud.ts";
import { eventually } from "../../system/world/eventually.ts";
import type { Published } from "../../system/world/publish.ts";
import { createVehicle, reported, type Vehicle } from "../../system/world/vehicle.ts";
import { crasher, neverMet, server, serverProbes, sleeper, storm, stubborn } from "./programs.ts";
import { killRunning, processesOf, runsOn, type Running, type Stand } from "./stand.ts";

export type OpenStand = Stand & AsyncDisposable;

/**
 * What holds on every runtime: the same story of one vehicle over the real agent, control plane and registry, with real
 * containers or processes. `more` adds what only one of them can show.
 */
export function runtimeSuite(name: string, open: () => Promise<OpenStand>, more?: (step: Step) => void): void {
  describe(`runtime ${name}`, { concurrency: 1 }, () => {
    const opened = new AsyncDisposableStack();
    const made: { world?: World; broken?: string } = {};
    const step: Step = (title, act) => {
      it(title, async () => {
        assert.equal(made.broken, undefined, "an earlier step of the story failed");
        made.broken = title;
        await act(made.world ?? assert.fail("the world was not made"));
        delete made.broken;
      });
    };
    before(async () => {
      const cloud = opened.use(await startCloud());
      const stand = opened.use(await open());
      const good = await stand.publish(cloud, GOOD);
      const vehicle = await createVehicle(cloud, { id: `on-${name}`, config: { runtime: stand.runtime } });
      opened.use(vehicle);
      made.world = { stand, cloud, good, vehicle };
    });
    after(async () => {
      await opened.disposeAsync();
    });

    step("a release is applied by digest and judged ready by its probes", (own) => applies(own));
    step("drift: what was killed is started again, and only that", (own) => restartsTheDead(own));
    step("a crash loop goes back by itself, though every exit was a 0", (own) => leavesACrashLoop(own));
    step("a release that never gets ready goes back with the registry stopped", (own) => leavesTheUnready(own));
    step("the agent's death changes nothing, and exits meanwhile are learnt", (own) => survivesTheAgent(own));
    step("an agent that dies in the middle of a change carries it to its end", (own) => resumes(own));
    step("a damaged file of the set is mended before it is started", (own) => mends(own));
    step("a damaged artifact is fetched again, and is never started", (own) => refusesDamagedBlobs(own));
    step("a stack that ignores signals and leaves its session leaves nothing behind", (own) => leavesNoOrphans(own));
    step("the disk gate closes on a real, small file system", (own) => closesOnASmallDisk(own, `small-${name}`));
    more?.(step);
    step("a respawn storm inside a launch that stays up is a crash loop", (own) => leavesAStorm(own));
  });
}

/** One chapter of the story; after one that failed the others say nothing. */
export type Step = (title: string, act: (world: World) => Promise<void>) => void;

export interface World {
  readonly stand: Stand;
  readonly cloud: Cloud;
  readonly vehicle: Vehicle;
  readonly good: Published;
}

const PARAMS = [{ name: "planner.yaml", text: "/planner:\n  ros__parameters:\n    speed: 1\n" }] as const;
const GOOD = {
  version: "1.0.0",
  programs: { main: server("good") },
  // The tests kill it often.
  healthModel: { probes: serverProbes, maxRestarts: 100 },
  params: PARAMS,
};

/** Wants a release and waits until the vehicle says that it is committed, and it runs. */
export async function converges(world: World, release: Published): Promise<readonly Running[]> {
  const { cloud, vehicle, stand } = world;
  const revision = await desire(cloud, release, [vehicle]);
  await reported(cloud, vehicle, { status: "converged", codes: [], revision, version: release.version });
  return await runsOn(stand, cloud, vehicle, release);
}

/** Waits until one workload of the set runs that is another one than before. */
export async function runsAnew(world: World, set: Published, before: Running): Promise<Running> {
  return await eventually("it runs again", async () => {
    const running = await runsOn(world.stand, world.cloud, world.vehicle, set);
    return running.find(({ instanceId }) => instanceId !== before.instanceId);
  });
}

async function applies(world: World): Promise<void> {
  world.vehicle.startAgent();
  const running = await converges(world, world.good);
  assert.deepEqual(
    running.map(({ workload }) => workload),
    ["main"],
  );
}

async function onlyOne(world: World, set: Published): Promise<Running> {
  const [running] = await runsOn(world.stand, world.cloud, world.vehicle, set);
  return running ?? assert.fail("nothing runs");
}

async function restartsTheDead(world: World): Promise<void> {
  const before = await onlyOne(world, world.good);
  killRunning(before);
  const after = await runsAnew(world, world.good, before);
  assert.equal(after.set, before.set);
  assert.match(world.vehicle.log(), /"message":"workload ended".*"signal":"SIGKILL"/);
}

async function leavesACrashLoop(world: World): Promise<void> {
  const { stand, cloud, vehicle, good } = world;
  const release = await stand.publish(cloud, { version: "1.1.0-crashing", programs: { main: crasher } });
  const revision = await desire(cloud, release, [vehicle]);
  const codes = ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] as const;
  const back = await reported(cloud, vehicle, { status: "rolled_back", codes, revision, version: good.version });
  const loop = back.evidence.find((item) => item.kind === "workload");
  assert.ok(loop?.kind === "workload" && loop.exitCode === 0 && loop.exits > 1, JSON.stringify(back.evidence));
  await runsOn(stand, cloud, vehicle, good);
}

async function leavesAStorm(world: World): Promise<void> {
  const { stand, cloud, vehicle, good } = world;
  const release = await stand.publish(cloud, {
    version: "1.1.1-storm",
    programs: { main: storm },
    healthModel: { maxRestarts: 3, probationSec: 30 },
  });
  const revision = await desire(cloud, release, [vehicle]);
  const codes = ["CRASH_LOOP_DETECTED", "ROLLBACK_APPLIED"] as const;
  await reported(cloud, vehicle, { status: "rolled_back", codes, revision, version: good.version });
  await runsOn(stand, cloud, vehicle, good);
}

async function leavesTheUnready(world: World): Promise<void> {
  const { stand, cloud, vehicle, good } = world;
  const release = await stand.publish(cloud, {
    version: "1.2.0-unready",
    programs: { main: sleeper("unready") },
    healthModel: { readinessTimeoutSec: 3, probes: [neverMet] },
  });
  const revision = await desire(cloud, release, [vehicle]);
  await runsOn(stand, cloud, vehicle, release);
  await cloud.kill();
  await eventually("the good release runs again", async () => {
    const running = await stand.running(vehicle);
    return running.length === 1 && running[0]?.set === good.manifestDigest ? true : undefined;
  });
  assert.ok(await cloud.start());
  const codes = ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"] as const;
  await reported(cloud, vehicle, { status: "rolled_back", codes, revision, version: good.version });
}

async function survivesTheAgent(world: World): Promise<void> {
  const { stand, vehicle, good } = world;
  const before = await onlyOne(world, good);
  await vehicle.killAgent();
  vehicle.startAgent();
  const noted = vehicle.log().length;
  await eventually("the new agent has looked", () =>
    vehicle.log().slice(noted).includes("mqtt connected") ? true : undefined,
  );
  assert.deepEqual(await stand.running(vehicle), [before], "H2: the same container, the same process");
  await vehicle.killAgent();
  killRunning(before);
  await eventually("it is gone", async () => ((await stand.running(vehicle)).length === 0 ? true : undefined));
  const ended = vehicle.log().length;
  vehicle.startAgent();
  await runsAnew(world, good, before);
  assert.match(vehicle.log().slice(ended), new RegExp(`"workload ended".*${before.instanceId}.*"SIGKILL"`));
}

async function resumes(world: World): Promise<void> {
  const { stand, cloud, vehicle, good } = world;
  const release = await stand.publish(cloud, { version: "1.3.0", programs: { main: sleeper("next") } });
  const revision = await desire(cloud, release, [vehicle]);
  // Gone at a moment at which the old stack does not run any more, and the new one may.
  await eventually("the old stack is being replaced", async () =>
    (await stand.running(vehicle)).some(({ set }) => set === good.manifestDigest) ? undefined : true,
  );
  await vehicle.killAgent();
  vehicle.startAgent();
  await reported(cloud, vehicle, { status: "converged", codes: [], revision, version: release.version });
  await runsOn(stand, cloud, vehicle, release);
  await converges(world, good);
}

/** The file is edited while no agent runs: the next one hashes before it starts anything. */
async function mends(world: World): Promise<void> {
  const { stand, vehicle, good } = world;
  const before = await onlyOne(world, good);
  await vehicle.stopAgent();
  const folder = join(vehicle.stateDir, "sets", good.manifestDigest.slice("sha256:".length));
  const wanted = stand.engine === undefined ? "main" : PARAMS[0].name;
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const file = names.find((name) => name.endsWith(`/${wanted}`)) ?? assert.fail(names.join("\n"));
  const whole = readFileSync(join(folder, file), "utf8");
  writeFileSync(join(folder, file), `${whole}# somebody was here\n`);
  killRunning(before);
  vehicle.startAgent();
  await runsAnew(world, good, before);
  assert.equal(readFileSync(join(folder, file), "utf8"), whole);
  assert.match(vehicle.log(), /"message":"set is damaged"/);
}

async function refusesDamagedBlobs(world: World): Promise<void> {
  const { stand, cloud, vehicle, good } = world;
  const release = await stand.publish(cloud, { version: "1.4.0", programs: { main: sleeper("damaged") } });
  const digest = release.layerDigests.at(-1) ?? "";
  const file = join(cloud.dataDir, "registry", "blobs", digest.slice("sha256:".length));
  const whole = readFileSync(file);
  writeFileSync(file, Buffer.concat([whole.subarray(0, -1), Buffer.from([(whole.at(-1) ?? 0) ^ 1])]));
  const revision = await desire(cloud, release, [vehicle]);
  const codes = ["ARTIFACT_DOWNLOAD_FAILED"] as const;
  await reported(cloud, vehicle, { status: "blocked", codes, revision, version: good.version });
  await runsOn(stand, cloud, vehicle, good);
  writeFileSync(file, whole);
  await reported(cloud, vehicle, { status: "converged", codes: [], revision });
  await runsOn(stand, cloud, vehicle, release);
}

async function leavesNoOrphans(world: World): Promise<void> {
  const { stand, cloud, good } = world;
  const release = await stand.publish(cloud, { version: "1.5.0-stubborn", programs: { main: stubborn } });
  const [running] = await converges(world, release);
  const instanceId = running?.instanceId ?? "";
  const own = await eventually("its children run", () => {
    const found = processesOf(instanceId, allProcesses());
    return found.length >= 4 ? found : undefined;
  });
  assert.ok(own.length >= 4);
  await converges(world, good);
  assert.deepEqual(processesOf(instanceId, allProcesses()), []);
}

async function closesOnASmallDisk({ stand, cloud, good }: World, id: string): Promise<void> {
  await using vehicle = await createVehicle(cloud, { id, config: { runtime: stand.runtime } });
  mkdirSync(vehicle.stateDir, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "none", vehicle.stateDir]);
  try {
    const release = await stand.publish(cloud, {
      version: "2.0.0-large",
      programs: { main: sleeper("large") },
      diskMbMin: 1_000,
    });
    const [revision] = [await desire(cloud, release, [vehicle])];
    vehicle.startAgent();
    const codes = ["INSUFFICIENT_DISK"] as const;
    const blocked = await reported(cloud, vehicle, { status: "blocked", codes, revision });
    const gate = blocked.evidence.find((item) => item.kind === "gate");
    assert.ok(
      gate?.kind === "gate" && typeof gate.seen === "number" && gate.seen <= 24,
      JSON.stringify(blocked.evidence),
    );
    assert.deepEqual(await stand.running(vehicle), []);
    assert.ok(good.version !== release.version);
    await vehicle.stopAgent();
  } finally {
    execFileSync("umount", ["-l", vehicle.stateDir]);
  }
}

function allProcesses(): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ReasonCode, Rollout, Vehicle } from "@muto/spec";
import type { ControlPlane } from "./control-plane.ts";
import type { Expectations } from "./expectations.ts";
import { fleet } from "./fleet.ts";
import type { FleetEntry } from "./fleet.ts";
import { runMuto } from "./program.ts";
import { imageLayoutIn, stackFile } from "./release.ts";
import { parked } from "./signals.ts";
import { until } from "./until.ts";
import type { DemoVehicle } from "./vehicle.ts";

/** Everything an act needs. */
export interface Stage {
  readonly plane: ControlPlane;
  readonly folder: string;
  /** Of the engine that runs the stack; undefined where it runs as processes. */
  readonly engineSocket: string | undefined;
  readonly vehicles: Map<string, DemoVehicle>;
  readonly expectations: Expectations;
  readonly say: (line: string) => void;
}

export const STACK = "autonomy-core";
const ROLLOUT_LIMIT_MS = 60_000;
const REFUSAL_LIMIT_MS = 30_000;
/** An image of more than a hundred megabytes for each vehicle of one computer takes its time. */
const CONTAINER_PATIENCE = 4;

/** Whatever is waited for, on processes or on containers. */
export function patience({ engineSocket }: Pick<Stage, "engineSocket">, limitMs: number): number {
  return engineSocket === undefined ? limitMs : CONTAINER_PATIENCE * limitMs;
}

/** Builds, pushes, signs and registers one version, with the command line as a person would. */
export async function publish(stage: Stage, version: string, minScanHz: number): Promise<void> {
  const folder = join(stage.folder, "releases");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${version}.json`);
  const layout = stage.engineSocket === undefined ? undefined : imageLayoutIn(folder);
  writeFileSync(file, JSON.stringify(stackFile(version, minScanHz, layout), null, 2));
  await muto(stage, ["release", "push", file, "--key", stage.plane.releaseKeyFile, "--create"]);
}

/** One command against the demonstration's control plane, shown to whoever watches. */
export async function muto(stage: Stage, args: readonly string[]): Promise<string> {
  stage.say(`  $ muto ${args.map((arg) => (arg.includes(" ") ? `'${arg}'` : arg)).join(" ")}`);
  const env = { MUTO_URL: stage.plane.url, MUTO_TOKEN: stage.plane.token };
  return await runMuto(args, { env, logFile: join(stage.folder, "commands.log") });
}

/** Act one: a good release. Every vehicle refuses first, each for its own reason, then lets it in. */
export async function rollOutGood(stage: Stage): Promise<Rollout | undefined> {
  const { expectations } = stage;
  const rolloutId = await startRollout(stage, "1.0.0");
  const over = new AbortController();
  const gates = fleet.map(async (entry) => await watchGate(stage, entry, over.signal));
  const ended = await rolloutEnd(stage, rolloutId);
  // Whoever has not converged by now will not: nobody waits for a rollout that has ended.
  over.abort();
  await Promise.all(gates);
  const counts = ended?.counts;
  expectations.expect(
    "1.0.0 went out by canary and wave to every vehicle",
    ended?.status === "completed" && ended.outcome === "clean" && counts?.converged === fleet.length,
    ended === undefined
      ? "the rollout did not end in time"
      : `${ended.status}, ${ended.outcome}, ${counts?.converged}/${counts?.members} converged`,
  );
  return ended;
}

/** Act two: a bad release. It stops at the canaries, which return by themselves; nobody else ever gets it. */
export async function rollOutBad(stage: Stage): Promise<void> {
  const { plane, expectations } = stage;
  const rolloutId = await startRollout(stage, "1.1.0");
  const ended = await rolloutEnd(stage, rolloutId);
  const { body } = await plane.session.call("listRolloutVehicles", {
    params: { id: rolloutId },
    query: { limit: 200 },
  });
  const canaries = body.data.filter((member) => member.stage === "canary");
  const canaryStage = ended?.stages.find(({ stage: name }) => name === "canary");
  const verdict = canaryStage?.verdict;
  expectations.expect(
    "1.1.0 stopped at the canaries and was rolled back",
    ended?.status === "rolled_back" && verdict?.verdict === "fail",
    ended === undefined
      ? "the rollout did not end in time"
      : `${ended.status}, verdict ${verdict?.verdict} by ${verdict?.rule}`,
  );
  const codes = await Promise.all(
    canaries.map(async ({ vehicleId }) => await codesReported(plane, vehicleId, canaryStage?.desiredStateRevision)),
  );
  const shown = [...new Set(codes.flatMap((set) => [...set]))];
  expectations.expect(
    "a canary said why, and that it went back by itself",
    codes.some((set) => set.has("READINESS_TIMEOUT") && set.has("ROLLBACK_APPLIED")),
    shown.join(" "),
  );
  const others = body.data.filter((member) => member.stage !== "canary" && member.sequence !== null);
  expectations.expect(
    "nobody else was ever assigned 1.1.0",
    others.length === 0 && canaries.length > 0,
    `${canaries.length} canaries, ${others.length} others`,
  );
}

/** What is true of the whole fleet afterwards, by what vehicles reported. */
export async function fleetRuns(stage: Stage, version: string): Promise<void> {
  const running = await until(patience(stage, REFUSAL_LIMIT_MS), async () => {
    const states = await Promise.all(fleet.map(async ({ id }) => await runningState(stage.plane, id, version)));
    return states.every((state) => state === "running") ? states : undefined;
  });
  const states =
    running ?? (await Promise.all(fleet.map(async ({ id }) => await runningState(stage.plane, id, version))));
  const good = states.filter((state) => state === "running").length;
  stage.expectations.expect(
    `every vehicle is on ${version} and its workloads run`,
    good === fleet.length,
    `${good}/${fleet.length} running`,
  );
}

async function startRollout(stage: Stage, version: string): Promise<string> {
  const flags = ["--soak-sec", "1", "--watch-sec", "0", "--output", "json"];
  const printed = await muto(stage, ["rollout", "create", STACK, version, "--selector", "ring=1", ...flags]);
  const made: unknown = JSON.parse(printed);
  const id: unknown =
    typeof made === "object" && made !== null ? Object.entries(made).find(([key]) => key === "id")?.[1] : undefined;
  if (typeof id !== "string") throw new Error("the rollout has no id");
  return id;
}

async function rolloutEnd(stage: Stage, id: string): Promise<Rollout | undefined> {
  return await until(patience(stage, ROLLOUT_LIMIT_MS), async () => {
    const { body } = await stage.plane.session.call("getRollout", { params: { id } });
    return body.data.endedAt === null ? undefined : body.data;
  });
}

/** Waits for the refusal with its code, removes the obstacle, and waits for the change to be let in. */
async function watchGate(stage: Stage, entry: FleetEntry, over: AbortSignal): Promise<void> {
  const { obstacle, id } = entry;
  const vehicle = stage.vehicles.get(id);
  if (vehicle === undefined) throw new Error(`no vehicle ${id}`);
  const refused = await until(patience(stage, REFUSAL_LIMIT_MS), async () => {
    const { status, reasonCodes } = await vehicleOf(stage.plane, id);
    if (status === "blocked" && reasonCodes.some((code) => code === obstacle.code)) return true;
    return over.aborted ? false : undefined;
  });
  if (refused === true) stage.say(`  ${id} ${obstacle.what}: blocked, ${obstacle.code}`);
  await removeObstacle(stage, entry, vehicle);
  const converged = await until(patience(stage, ROLLOUT_LIMIT_MS), async () => {
    const { status } = await vehicleOf(stage.plane, id);
    if (status === "converged") return true;
    return over.aborted ? false : undefined;
  });
  if (converged === true) stage.say(`  ${id} converged`);
  stage.expectations.expect(
    `${id} (${obstacle.what}) refuses with ${obstacle.code}, then lets it in`,
    refused === true && converged === true,
    `${refused === true ? "refused" : "did not refuse"}, ${converged === true ? "converged" : "did not converge"}`,
  );
}

async function removeObstacle(stage: Stage, { obstacle, id }: FleetEntry, vehicle: DemoVehicle): Promise<void> {
  if (obstacle.heldByTechnician === true) await muto(stage, ["agent", "release", "--config", vehicle.configFile]);
  if (obstacle.diskReserveMb !== undefined) {
    stage.say(`  ${id}: the disk was cleaned up, its agent is restarted`);
    vehicle.configure({});
    await vehicle.stopAgent();
    vehicle.startAgent();
  }
  vehicle.gateway.say(parked);
}

export async function vehicleOf(plane: ControlPlane, id: string): Promise<Vehicle> {
  return (await plane.session.call("getVehicle", { params: { id } })).body.data;
}

/** Every reason code that the vehicle signed for while it was about this desired state. */
async function codesReported(
  plane: ControlPlane,
  vehicleId: string,
  revision: string | null | undefined,
): Promise<ReadonlySet<ReasonCode>> {
  const { body } = await plane.session.call("listReconcileReports", { query: { vehicleId, limit: 100 } });
  const about = body.data.filter(({ report }) => report.desiredStateRevision === revision);
  return new Set(about.flatMap(({ report }) => report.reasonCodes));
}

async function runningState(plane: ControlPlane, vehicleId: string, version: string): Promise<string> {
  const vehicle = await vehicleOf(plane, vehicleId);
  if (vehicle.actualStack?.version !== version) return `runs ${vehicle.actualStack?.version ?? "nothing"}`;
  const { body } = await plane.session.call("listHealthReports", { query: { vehicleId, limit: 1 } });
  const workloads = body.data[0]?.report.workloads ?? [];
  const alive = workloads.filter(({ state }) => state === "running" || state === "ready");
  return workloads.length > 0 && alive.length === workloads.length
    ? "running"
    : `${alive.length}/${workloads.length} workloads`;
}

import { spawn } from "node:child_process";
import { openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "../scripts/bundle.ts";
import { busyboxPath, startPodman } from "../test/services/runtime/engines.ts";
import { sleeper } from "../test/services/runtime/programs.ts";
import { engineStand, runsOn } from "../test/services/runtime/stand.ts";
import { desire, startCloud } from "../test/system/world/cloud.ts";
import { createVehicle, reported } from "../test/system/world/vehicle.ts";
import { loadOf, type Sample } from "./figures.ts";
import { sampleOf } from "./watch-process.ts";

const RSS_RATIO_MAX = 1.5;
const CPU_SHARE_MAX = 0.003;
const POLL_SEC = 30;
const SETTLE_MS = 30_000;
const SAMPLE_MS = 1_000;
const DAY_SEC = 86_400;

/**
 * What a vehicle's agent costs while nothing happens: three containers, connected to the broker, polling and reporting health
 * every thirty seconds, as on a real vehicle, from the one file that is shipped. Against a bare Node.js process that does nothing at all. `--signals` keeps the vehicle's gateway writing its file several times a second.
 */
export async function benchIdle(args: readonly string[]): Promise<number> {
  const options = { minutes: { type: "string", default: "10" }, signals: { type: "boolean", default: false } } as const;
  const { values } = parseArgs({ args: [...args], options });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error("--minutes takes a number above 0");
  await busyboxPath();
  await using cloud = await startCloud();
  await using engine = await startPodman();
  const stand = engineStand(engine);
  const programs = { lidar: sleeper("lidar"), planner: sleeper("planner"), controller: sleeper("controller") };
  const release = await stand.publish(cloud, { version: "1.0.0", programs, healthModel: { maxRestarts: 3 } });
  await using http = await countingRelay(Number(new URL(cloud.url).port));
  await using broker = await countingRelay(Number(new URL(cloud.mqttUrl ?? cloud.url).port));
  const config = {
    runtime: { ...stand.runtime, adapter: "none" as const },
    cloud: { url: `http://127.0.0.1:${http.port}`, pollSec: POLL_SEC, healthSec: POLL_SEC },
  };
  const mqtt = { url: `mqtt://127.0.0.1:${broker.port}` };
  await using vehicle = await createVehicle(cloud, { id: "idle", config, mqtt });
  const revision = await desire(cloud, release, [vehicle]);
  await using agent = await shippedAgent(cloud.folder, vehicle.configFile);
  await reported(cloud, vehicle, { status: "converged", codes: [], revision });
  await runsOn(stand, cloud, vehicle, release, 3);
  const { pid } = agent;
  await using bare = bareNode();
  if (!values.signals) vehicle.gateway[Symbol.dispose]();
  console.log(`agent ${pid}, a gateway that ${values.signals ? "speaks" : "is silent"}`);
  console.log(`settling for ${SETTLE_MS / 1000} s, then measuring for ${minutes} min`);
  await sleep(SETTLE_MS);
  const bytes = () => http.bytes + broker.bytes;
  const before = { io: writtenBy(pid), net: bytes(), files: timesBelow(vehicle.stateDir), at: performance.now() };
  const samples: Sample[] = [];
  while (performance.now() - before.at < minutes * 60_000) {
    samples.push(await sampleOf(pid));
    await sleep(SAMPLE_MS);
  }
  const seconds = (performance.now() - before.at) / 1000;
  const load = loadOf(samples);
  const bareMb = (await sampleOf(bare.pid)).rssMb;
  const written = writtenBy(pid) - before.io;
  const after = timesBelow(vehicle.stateDir);
  const changed = [...after].filter(([name, time]) => before.files.get(name) !== time).map(([name]) => name);
  const ratio = load.rssMbMax / bareMb;
  console.log(
    `memory     ${load.rssMbMax.toFixed(1)} MB, a bare Node.js ${bareMb.toFixed(1)} MB, ratio ${ratio.toFixed(2)} (at most ${RSS_RATIO_MAX})`,
  );
  console.log(`CPU        ${(load.cpuShare * 100).toFixed(2)} % of a core (at most ${CPU_SHARE_MAX * 100} %)`);
  console.log(`disk       ${written} bytes written; files that changed: ${changed.join(", ") || "none"}`);
  const perDay = Math.round(((bytes() - before.net) / seconds) * DAY_SEC);
  console.log(
    `network    ${(perDay / 1_000_000).toFixed(2)} MB a day to and from control plane and broker, without TCP and TLS`,
  );
  const wrong = [
    ...(ratio > RSS_RATIO_MAX ? ["memory"] : []),
    ...(load.cpuShare > CPU_SHARE_MAX ? ["CPU"] : []),
    ...(changed.every((name) => name.startsWith("outbox")) ? [] : ["disk"]),
  ];
  console.log(wrong.length === 0 ? "within its bounds" : `not within its bounds: ${wrong.join(", ")}`);
  return wrong.length === 0 ? 0 : 1;
}

/** The agent as it is shipped, built now. */
async function shippedAgent(folder: string, configFile: string): Promise<BareNode> {
  const file = join(folder, "muto-agent.mjs");
  writeFileSync(file, (await bundle("agent/confined.ts")).code);
  const log = openSync(join(folder, "idle-agent.log"), "a");
  return started([file, "--config", configFile], log);
}

interface BareNode extends AsyncDisposable {
  readonly pid: number;
}

/** A Node.js process that waits for ever. */
function bareNode(): BareNode {
  return started(["-e", "setInterval(() => {}, 1e9)"], "ignore");
}

function started(args: readonly string[], stderr: number | "ignore"): BareNode {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", stderr] });
  const { pid } = child;
  if (pid === undefined) throw new Error("node did not start");
  return { pid, [Symbol.asyncDispose]: async () => void child.kill("SIGKILL") };
}

/** Bytes that the process caused to be written to storage. */
function writtenBy(pid: number): number {
  return Number(/^write_bytes: (\d+)$/m.exec(textOf(`/proc/${pid}/io`))?.[1] ?? Number.NaN);
}

/** When each file below the folder was last written, by its relative path. */
function timesBelow(folder: string): ReadonlyMap<string, number> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return new Map(
    names.flatMap((name) => {
      const found = statSync(join(folder, name), { throwIfNoEntry: false });
      return found?.isFile() === true ? [[name, found.mtimeMs] as const] : [];
    }),
  );
}

interface Relay extends AsyncDisposable {
  readonly port: number;
  /** So far, in both directions. */
  readonly bytes: number;
}

/** Passes connections on to a loopback port and counts what goes through. */
async function countingRelay(target: number): Promise<Relay> {
  const counted = { bytes: 0 };
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (chunk: Buffer) => void (counted.bytes += chunk.byteLength));
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    get bytes() {
      return counted.bytes;
    },
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

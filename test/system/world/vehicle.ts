import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { join } from "node:path";
import type { AgentConfigInput, Evidence, ReasonCode, ReconcileReport } from "@muto/spec";
import { startMuto } from "../../../demo/program.ts";
import type { MutoProgram } from "../../../demo/program.ts";
import { openGateway, parked } from "../../../demo/signals.ts";
import type { Gateway } from "../../../demo/signals.ts";
import { stopWorkloads } from "../../../demo/workloads.ts";
import { reportsOf, vehicleRecord } from "./cloud.ts";
import type { Cloud } from "./cloud.ts";
import { kill, workloadsBelow } from "./computer.ts";
import type { RunningWorkload } from "./computer.ts";
import { eventually } from "./eventually.ts";
import { endWhenInterrupted } from "./interrupted.ts";

/** What makes a vehicle differ from the ordinary one; sections replace those of its configuration field by field. */
export interface VehicleSpec {
  readonly id: string;
  /** What the inventory of the control plane says of it. */
  readonly tags?: Readonly<Record<string, string>>;
  readonly config?: {
    readonly [Section in "vehicle" | "cloud" | "safety" | "registry" | "runtime" | "changeInProgress"]?: Partial<
      NonNullable<AgentConfigInput[Section]>
    >;
  } & {
    readonly trustFile?: string;
    /** In place of the gateway's. */
    readonly signals?: AgentConfigInput["signals"];
  };
  /** URL of the rosbridge that shows its ROS graph; left out, it has none. */
  readonly rosbridge?: string;
  /** `none` has no broker in its configuration. */
  readonly mqtt?: AgentConfigInput["mqtt"] | "none";
}

/** One vehicle: a folder, a gateway that writes signals, and a real agent process. */
export interface Vehicle extends AsyncDisposable {
  readonly id: string;
  readonly stateDir: string;
  readonly configFile: string;
  readonly gateway: Gateway;
  /** `main` is another copy of the program. */
  startAgent(main?: string): void;
  /** Asks it to end, and waits. */
  stopAgent(): Promise<void>;
  /** SIGKILL, and waits until it is gone. */
  killAgent(): Promise<void>;
  /** Writes the configuration anew; takes effect at the agent's next start. */
  configure(change: VehicleSpec["config"]): void;
  /** What runs on it, as the kernel shows it. */
  running(): readonly RunningWorkload[];
  log(): string;
}

const STANDSTILL_SEC = 0.3;

/** A vehicle that the control plane knows and that has a claim; its agent is not started yet. It stands, parked. */
export async function createVehicle(cloud: Cloud, spec: VehicleSpec): Promise<Vehicle> {
  const { id, tags = { model: "vehicle-v3", region: "eu" } } = spec;
  await cloud.session.call("createVehicle", { body: { id, tags } });
  const { body } = await cloud.session.call("createClaim", { params: { id }, body: {} });
  const folder = join(cloud.folder, id);
  mkdirSync(folder);
  const files = { config: join(folder, "agent.json"), log: join(folder, "agent.log"), claim: join(folder, "claim") };
  writeFileSync(files.claim, `${body.data.claim}\n`, { mode: 0o600 });
  const interruption = endWhenInterrupted(folder);
  const address = await reserveAddress();
  const configure = (change: VehicleSpec["config"]) =>
    writeFileSync(
      files.config,
      JSON.stringify(configOf(cloud, spec, { folder, address: address.ip, change }), null, 2),
    );
  configure(spec.config);
  const gateway = openGateway(join(folder, "signals.jsonl"));
  gateway.say(parked);
  const stateDir = join(folder, "state");
  let agent: MutoProgram | undefined;
  const stopAgent = async () => {
    await agent?.stop();
    agent = undefined;
  };
  return {
    id,
    stateDir,
    configFile: files.config,
    gateway,
    startAgent: (main) => {
      if (agent !== undefined) throw new Error(`the agent of ${id} runs already`);
      const options = { logFile: files.log, ...(main === undefined ? {} : { main }) };
      agent = startMuto(["agent", "--config", files.config], options);
    },
    stopAgent,
    killAgent: async () => {
      if (agent === undefined) throw new Error(`the agent of ${id} does not run`);
      kill(agent.pid);
      await agent.exited;
      agent = undefined;
    },
    configure,
    running: () => workloadsBelow(stateDir),
    log: () => (existsSync(files.log) ? readFileSync(files.log, "utf8") : ""),
    [Symbol.asyncDispose]: async () => {
      gateway[Symbol.dispose]();
      await stopAgent();
      await stopWorkloads(folder);
      interruption[Symbol.dispose]();
      address.release();
    },
  };
}

/** What a report must say; `codes` are all of them, in any order. */
export interface Expected {
  readonly status: ReconcileReport["status"];
  readonly codes?: readonly ReasonCode[];
  readonly revision?: string;
  /** Of the stack that is selected to run. */
  readonly version?: string;
  /** Holds for at least one piece of evidence. */
  readonly evidence?: (item: Evidence) => boolean;
  /** Written later than this one. */
  readonly after?: Pick<ReconcileReport, "seq">;
}

/** Waits until the control plane has stored a report that says this, and returns it. */
export async function reported(cloud: Cloud, vehicle: Vehicle, expected: Expected): Promise<ReconcileReport> {
  return await eventually(
    `${vehicle.id} reports ${JSON.stringify(expected)}`,
    async () =>
      (await reportsOf(cloud, vehicle.id)).map(({ report }) => report).find((report) => says(report, expected)),
    { explain: async () => await howThingsStand(cloud, vehicle) },
  );
}

/** Waits until exactly the workloads of this set run, and returns them. */
export async function runs(
  cloud: Cloud,
  vehicle: Vehicle,
  set: { readonly manifestDigest: string },
  count = 1,
): Promise<readonly RunningWorkload[]> {
  return await eventually(
    `${count} workloads of ${set.manifestDigest} run on ${vehicle.id}`,
    () => {
      const running = vehicle.running();
      return running.length === count && running.every((one) => one.set === set.manifestDigest) ? running : undefined;
    },
    { explain: async () => await howThingsStand(cloud, vehicle) },
  );
}

export async function howThingsStand(cloud: Cloud, vehicle: Vehicle): Promise<string> {
  const { status, reasonCodes, enrolment } = await vehicleRecord(cloud, vehicle.id);
  const reports = (await reportsOf(cloud, vehicle.id)).map(
    ({ report }) =>
      `  ${report.seq} ${report.status} ${report.phase} ${report.reasonCodes.join(" ")} ${report.desiredStateRevision} ${report.stack?.version}`,
  );
  const log = vehicle.log().split("\n").slice(-15);
  const running = JSON.stringify(vehicle.running());
  const now = `now ${status} ${reasonCodes.join(" ")}, enrolment ${enrolment.state}`;
  return [now, `running ${running}`, "reports, newest first:", ...reports, "agent's log:", ...log].join("\n");
}

function says(report: ReconcileReport, expected: Expected): boolean {
  const { status, codes, revision, version, evidence, after } = expected;
  if (report.status !== status) return false;
  if (after !== undefined && report.seq <= after.seq) return false;
  if (evidence !== undefined && !report.evidence.some(evidence)) return false;
  if (codes !== undefined && report.reasonCodes.toSorted().join(" ") !== codes.toSorted().join(" ")) return false;
  if (revision !== undefined && report.desiredStateRevision !== revision) return false;
  return version === undefined || report.stack?.version === version;
}

interface Place {
  readonly folder: string;
  readonly address: string;
  readonly change: VehicleSpec["config"];
}

function configOf(cloud: Cloud, spec: VehicleSpec, { folder, address, change = {} }: Place): AgentConfigInput {
  const gateway = [{ provider: "gateway" }];
  const mqtt = spec.mqtt ?? (cloud.mqttUrl === undefined ? "none" : { url: cloud.mqttUrl });
  return {
    kind: "muto.agent/v1",
    vehicle: {
      id: spec.id,
      model: "vehicle-v3",
      os: "debian-12",
      rosDistro: "humble",
      timezone: "Europe/Berlin",
      ...change.vehicle,
    },
    cloud: { url: cloud.url, claimFile: join(folder, "claim"), pollSec: 0.5, healthSec: 0.5, ...change.cloud },
    registry: { url: cloud.url, ...change.registry },
    ...(mqtt === "none" ? {} : { mqtt }),
    stateDir: join(folder, "state"),
    trustFile: change.trustFile ?? cloud.trustFile,
    runtime: { probeAddress: address, ...change.runtime },
    safety: { standstillSec: STANDSTILL_SEC, diskReserveMb: 1, requireParked: true, ...change.safety },
    signals: change.signals ?? {
      speed: gateway,
      yawRate: gateway,
      mode: gateway,
      battery: gateway,
      parked: gateway,
      hold: "none",
      providers: [
        { name: "gateway", kind: "file", path: join(folder, "signals.jsonl") },
        ...(spec.rosbridge === undefined ? [] : [{ name: "ros", kind: "rosbridge" as const, url: spec.rosbridge }]),
      ],
    },
    changeInProgress: { file: join(folder, "change.json"), ...change.changeInProgress },
  };
}

const RESERVATION_PORT = 7399;
const ADDRESSES = Array.from({ length: 250 }, (_, index) => `127.0.72.${index + 1}`);

/** A loopback address that no other vehicle of any test process on this computer has, until it is released or we end. */
async function reserveAddress(): Promise<{ readonly ip: string; readonly release: () => void }> {
  for (const ip of ADDRESSES) {
    const held = await hold(ip);
    if (held !== undefined) return { ip, release: () => held.close() };
  }
  throw new Error("every loopback address is taken");
}

function hold(ip: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen(RESERVATION_PORT, ip, () => resolve(server));
  });
}

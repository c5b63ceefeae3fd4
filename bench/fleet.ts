import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { table } from "@muto/cli/table";
import { percentile } from "@muto/sim/measure";
import type { Rollout } from "@muto/spec";
import { startControlPlane } from "../demo/control-plane.ts";
import type { ControlPlane } from "../demo/control-plane.ts";
import { runMuto, startMuto } from "../demo/program.ts";
import type { MutoProgram } from "../demo/program.ts";
import { badAnswers, unseen } from "./figures.ts";
import type { Load } from "./figures.ts";
import { pollCost } from "./poll-cost.ts";
import type { PollCost } from "./poll-cost.ts";
import { watchProcess } from "./watch-process.ts";

/*
 * A whole fleet against `muto up` on its embedded defaults, each in a process of its own, at the intervals that are the
 * defaults: quiet, then a rollout at the pace that is asked for, then quiet again. Fails at any error, any poll that fell out, and any vehicle
 * that was not seen or not converged.
 */

const STACK = { name: "simulated-stack", version: "1.0.0" } as const;
const PAGE_MAX = 200;
/** A vehicle shows itself by poll or health report; each comes at most so long after the last. */
const SEEN_MS_MAX = 45_000;
const LOOK_EVERY_MS = 1_000;
const COMING_UP_PER_SEC = 40;
const COMING_UP_MS_MAX = 300_000;
/** As one would pace a fleet on the database of a desk; `--in-flight 1000` is the default of a rollout. */
const IN_FLIGHT = 100;

interface Options {
  readonly vehicles: number;
  readonly minutes: number;
  /** How many vehicles of the wave are on their way at once. */
  readonly inFlight: number;
}

export async function benchFleet(args: readonly string[]): Promise<number> {
  const options = optionsOf(args);
  const folder = mkdtempSync(join(tmpdir(), "muto-bench-"));
  const plane = await startControlPlane(join(folder, "cloud"), new AbortController().signal);
  try {
    const seen = await run(options, plane, folder);
    print(seen);
    const problems = problemsOf(seen);
    for (const problem of problems) console.log(`FAILED: ${problem}`);
    return problems.length === 0 ? 0 : 1;
  } finally {
    await plane.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { vehicles: { type: "string" }, minutes: { type: "string" }, "in-flight": { type: "string" } },
  });
  const positive = (text: string | undefined, otherwise: number, name: string) => {
    const value = text === undefined ? otherwise : Number(text);
    if (!(value > 0)) throw new Error(`--${name} is a number above 0`);
    return value;
  };
  return {
    vehicles: Math.floor(positive(values.vehicles, 2_000, "vehicles")),
    minutes: positive(values.minutes, 3, "minutes"),
    inFlight: Math.floor(positive(values["in-flight"], IN_FLIGHT, "in-flight")),
  };
}

/** Everything that was seen of one run. */
interface Seen {
  readonly vehicles: number;
  readonly cost: PollCost;
  readonly loads: { readonly cloud: ReadonlyMap<string, Load>; readonly fleet: ReadonlyMap<string, Load> };
  readonly fleet: FleetFigures;
  readonly rollout: Rollout;
  readonly late: number;
  readonly refused: number;
  readonly delaysMs: readonly number[];
}

async function run({ vehicles, minutes, inFlight }: Options, plane: ControlPlane, folder: string): Promise<Seen> {
  const cost = await pollCost(plane);
  await publish(plane, folder);
  const rampSec = Math.ceil(vehicles / COMING_UP_PER_SEC);
  console.log(`${vehicles} vehicles come up over ${rampSec} s, then ${minutes} min are measured`);
  await using stack = new AsyncDisposableStack();
  const simulator = startSimulator(plane, folder, { vehicles, rampSec });
  // Also when the control plane does not answer any more.
  stack.defer(async () => await simulator.stop());
  await using cloud = watchProcess(plane.pid);
  await using fleet = watchProcess(simulator.pid);
  const phase = async (name: string) => await Promise.all([cloud.mark(name), fleet.mark(name)]);
  await phase("coming up");
  await allOnline(plane, vehicles);
  const endMs = performance.now() + minutes * 60_000;
  await phase("quiet");
  await pause((minutes * 60_000) / 3);
  await phase("rollout");
  const rollout = await rollOut(plane, inFlight, endMs);
  await phase("quiet again");
  await pause(endMs - performance.now());
  await phase("end");
  return {
    vehicles,
    cost,
    loads: { cloud: cloud.loads(), fleet: fleet.loads() },
    rollout,
    late: unseen(await lastSeen(plane), Date.now(), SEEN_MS_MAX),
    refused: badAnswers(await metricsOf(plane)),
    delaysMs: await reportDelays(plane),
    fleet: await figuresOf(simulator),
  };
}

function startSimulator(
  plane: ControlPlane,
  folder: string,
  { vehicles, rampSec }: { readonly vehicles: number; readonly rampSec: number },
): MutoProgram {
  const size = ["--vehicles", String(vehicles), "--ramp-sec", String(rampSec)];
  const world = ["--trust", plane.trustFile, "--mqtt", `mqtt://127.0.0.1:${plane.mqttPort}`];
  const env = { MUTO_URL: plane.url, MUTO_TOKEN: plane.token };
  return startMuto(["simulate", ...size, ...world, "--output", "json"], { env, logFile: join(folder, "simulate.log") });
}

function print({ loads, fleet, cost, delaysMs, rollout }: Seen): void {
  const phases = [...loads.cloud].slice(0, -1).map(([name, cloud]) => {
    const both = [cloud, loads.fleet.get(name) ?? { cpuShare: 0, rssMbMax: 0 }];
    return [name, ...both.flatMap((one) => [`${(one.cpuShare * 100).toFixed(1)} %`, one.rssMbMax.toFixed(0)])];
  });
  console.log(table(["phase", "cloud CPU", "cloud MB", "fleet CPU", "fleet MB"], phases));
  const requests = fleet.requests.map((one) => [
    `${one.kind} over HTTP`,
    ...[one.requests, one.errors].map(String),
    ...[one.p50Ms, one.p99Ms].map((ms) => ms.toFixed(1)),
  ]);
  const delays = [0.5, 0.99].map((share) => percentile(delaysMs, share).toFixed(1));
  const reports = ["report, written to stored", String(delaysMs.length), "", ...delays];
  console.log(table(["request", "count", "errors", "p50 ms", "p99 ms"], [...requests, reports]));
  console.log(`the rollout has reached ${rollout.counts.converged} vehicles`);
  const { longestGapMs, missed } = fleet.polls;
  console.log(`polls: longest gap ${(longestGapMs / 1000).toFixed(1)} s, ${missed} missed`);
  const [muto, bare] = [cost.mutoMs, cost.bareMs].map((ms) => `${ms.toFixed(2)} ms`);
  const times = (cost.mutoMs / cost.bareMs).toFixed(1);
  console.log(`CPU for a poll that brings nothing: ${muto}; a bare node:http server: ${bare} (${times} times)`);
}

/** What was not as it must be. */
function problemsOf({ vehicles, fleet, refused, late, rollout }: Seen): readonly string[] {
  const errors = fleet.requests.reduce((sum, one) => sum + one.errors, 0);
  // A paced rollout may still be on its way at the end; what it has reached has converged.
  const isWhole = rollout.outcome === "clean" && rollout.counts.converged === vehicles;
  const isOnItsWay = rollout.status === "active" && rollout.counts.failed === 0 && rollout.counts.converged > 0;
  const checks: readonly (readonly [ok: boolean, problem: string])[] = [
    [errors === 0, `${errors} requests of vehicles went wrong`],
    [refused === 0, `${refused} answers were 5xx or 429`],
    [fleet.polls.missed === 0, `${fleet.polls.missed} polls were missed`],
    [fleet.polls.vehicles === vehicles, `only ${fleet.polls.vehicles} vehicles polled`],
    [fleet.faults.length === 0, `${fleet.faults.length} agents ended by a fault`],
    [late === 0, `${late} vehicles were not seen for ${SEEN_MS_MAX / 1000} s`],
    [
      isWhole || isOnItsWay,
      `the rollout is ${rollout.status}, ${rollout.outcome}, ${rollout.counts.converged} converged`,
    ],
  ];
  return checks.flatMap(([ok, problem]) => (ok ? [] : [problem]));
}

async function publish(plane: ControlPlane, folder: string): Promise<void> {
  const file = join(import.meta.dirname, "..", "demo", "stacks", "simulated", `${STACK.version}.yaml`);
  const env = { MUTO_URL: plane.url, MUTO_TOKEN: plane.token };
  const args = ["release", "push", file, "--key", plane.releaseKeyFile, "--create"];
  await runMuto(args, { env, logFile: join(folder, "commands.log") });
}

async function allOnline({ session }: ControlPlane, vehicles: number): Promise<void> {
  const deadlineMs = performance.now() + COMING_UP_MS_MAX;
  for (;;) {
    const { body } = await session.call("getFleetSummary", { query: { selector: "simulated=yes" } });
    if (body.data.vehicles - body.data.byStatus.offline >= vehicles) return;
    if (performance.now() > deadlineMs) throw new Error("the fleet does not come up");
    await pause(LOOK_EVERY_MS);
  }
}

/** Rolls out to everybody; resolves when it has ended, or at the end of the time with how far it came. */
async function rollOut({ session }: ControlPlane, maxInFlight: number, endMs: number): Promise<Rollout> {
  const settings = { soakSec: 5, watchSec: 0, maxInFlight };
  const target = { type: "fleetSelector", selector: "simulated=yes" } as const;
  const created = await session.call("createRollout", { body: { target, stack: STACK, settings } });
  const made = created.body.data;
  if (!("id" in made)) throw new Error("the rollout was only planned");
  for (;;) {
    const { body } = await session.call("getRollout", { params: { id: made.id } });
    if (body.data.endedAt !== null || performance.now() > endMs) return body.data;
    await pause(LOOK_EVERY_MS);
  }
}

async function lastSeen({ session }: ControlPlane): Promise<readonly (string | null)[]> {
  const seen: (string | null)[] = [];
  for (let page = 1; ; page++) {
    const { body } = await session.call("listVehicles", {
      query: { selector: "simulated=yes", page, limit: PAGE_MAX },
    });
    seen.push(...body.data.map(({ lastSeenAt }) => lastSeenAt));
    if (page >= body.metadata.totalPages) return seen;
  }
}

/** Milliseconds from the moment a vehicle wrote a report until the control plane stored it; ascending. */
async function reportDelays({ session }: ControlPlane): Promise<readonly number[]> {
  const delays: number[] = [];
  for (let page = 1; ; page++) {
    const { body } = await session.call("listReconcileReports", { query: { page, limit: PAGE_MAX } });
    delays.push(...body.data.map(({ report, receivedAt }) => Date.parse(receivedAt) - Date.parse(report.at)));
    if (page >= body.metadata.totalPages) return delays.toSorted((a, b) => a - b);
  }
}

async function metricsOf(plane: ControlPlane): Promise<string> {
  const answer = await fetch(new URL("/metrics", plane.url), { headers: { authorization: `Bearer ${plane.token}` } });
  if (answer.status !== 200) throw new Error(`metrics are answered with ${answer.status}`);
  return await answer.text();
}

interface FleetFigures {
  readonly faults: readonly string[];
  readonly requests: readonly {
    readonly kind: string;
    readonly requests: number;
    readonly errors: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  }[];
  readonly polls: { readonly vehicles: number; readonly missed: number; readonly longestGapMs: number };
}

/** Ends the simulation, which then prints what its vehicles saw. */
async function figuresOf(simulator: MutoProgram): Promise<FleetFigures> {
  const printed = (async () => {
    for await (const line of simulator.lines) return line;
    throw new Error("the simulation printed nothing");
  })();
  await simulator.stop();
  const figures: FleetFigures = JSON.parse(await printed);
  return figures;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

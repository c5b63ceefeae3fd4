import { createHash } from "node:crypto";
import { timestamp } from "@muto/kit/clock";
import { ulid } from "@muto/kit/ids";
import { seededRandom } from "@muto/kit/random";
import type { Random } from "@muto/kit/random";
import { parseStackManifest } from "@muto/spec";
import type { Evidence, ReasonCode, ReconcileReport, StackManifest, StackRef } from "@muto/spec";
import { signReconcileReport } from "@muto/trust/documents";
import type { Signer } from "@muto/trust/keys";
import { createVehicleToken } from "@muto/trust/vehicle-token";
import { advanceRollout } from "../controller.ts";
import type { Database } from "../store/database.ts";
import { openSeedApi } from "./api.ts";
import type { SeedApi } from "./api.ts";
import { handClock } from "./clock.ts";
import type { HandClock } from "./clock.ts";
import { seededSigner } from "./keys.ts";

export interface SeedOptions {
  readonly database: Database;
  /** Decides everything: ids, tags, keys, outcomes. */
  readonly seed: number;
  /** When the history ends, in milliseconds since the epoch; with the same seed and time every row is the same. */
  readonly endMs: number;
  readonly tenant: string;
  readonly vehicles: number;
  readonly offlineAfterMs: number;
}

export interface Seeded {
  readonly vehicles: number;
  readonly releases: number;
  readonly rollouts: number;
}

interface SeedVehicle {
  readonly id: string;
  readonly signer: Signer;
  readonly installId: string;
  readonly bootId: string;
  seq: number;
  /** What it runs by its own evidence. */
  runs: StackRef | null;
}

interface History {
  readonly api: SeedApi;
  readonly clock: HandClock;
  readonly random: Random;
  readonly database: Database;
  readonly tenant: string;
  readonly offlineAfterMs: number;
  readonly vehicles: readonly SeedVehicle[];
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Share of the vehicles, the first ones, that always answer well, so that canaries pass and the wave is where it waits. */
const ALWAYS_WELL = 0.5;
const STACK = "autonomy-core";
const STEPS_MAX = 500;

/**
 * A week in the life of a small fleet, made by the real API, the real engine and signed reports under a clock that is turned
 * by hand: a release that went out, one that its canaries refused, and one that is on its way while some vehicles wait.
 */
export async function seedDatabase(options: SeedOptions): Promise<Seeded> {
  const { database, tenant, offlineAfterMs } = options;
  const random = seededRandom(options.seed);
  const clock = handClock(options.endMs - 7 * DAY_MS);
  const [releaseSigner, assignmentSigner] = [seededSigner(random), seededSigner(random)];
  await using api = await openSeedApi({
    database,
    clock,
    random,
    tenant,
    releaseSigner,
    assignmentSigner,
    offlineAfterMs,
  });
  const vehicles = await registerVehicles(api, options.vehicles, { random, clock });
  const history: History = { api, clock, random, database, tenant, offlineAfterMs, vehicles };
  for (const version of ["1.0.0", "1.1.0", "1.2.0"]) await release(history, version);
  await rollOut(history, "1.0.0", "simulated=no", () => "converged");
  clock.turn(2 * DAY_MS);
  await rollOut(history, "1.1.0", "simulated=no", () => "failed");
  clock.turn(options.endMs - clock.wallMs() - 3_600_000);
  await rollOut(history, "1.2.0", "simulated=no AND ring=1", (index) => {
    if (index < ALWAYS_WELL * vehicles.length) return "converged";
    return index % 5 === 4 ? "blocked" : index % 7 === 6 ? "silent" : "converged";
  });
  clock.turn(options.endMs - clock.wallMs());
  for (const [index, vehicle] of vehicles.entries()) if (index % 9 !== 8) api.heartbeats.seen(vehicle.id);
  await api.heartbeats.flush();
  return { vehicles: vehicles.length, releases: 3, rollouts: 3 };
}

async function registerVehicles(
  api: SeedApi,
  count: number,
  ports: { random: Random; clock: HandClock },
): Promise<readonly SeedVehicle[]> {
  const { random, clock } = ports;
  const pick = (values: readonly string[]) => values[Math.floor(random.fraction() * values.length)] ?? "";
  const vehicles: SeedVehicle[] = [];
  for (let index = 1; index <= count; index++) {
    const model = pick(["vehicle-v3", "vehicle-v4"]);
    const id = `${model}-${String(index).padStart(4, "0")}`;
    const signer = seededSigner(random);
    const tags = { model, region: pick(["eu", "us", "jp"]), ring: pick(["1", "2"]), simulated: "no" };
    await api.call("createVehicle", { body: { id, tags, publicKey: signer.publicKey.pem } });
    api.heartbeats.seen(id);
    vehicles.push({ id, signer, installId: ulid(clock, random), bootId: uuid(random), seq: 0, runs: null });
  }
  await api.heartbeats.flush();
  return vehicles;
}

async function release({ api }: History, version: string): Promise<void> {
  const manifest = manifestOf(version);
  const manifestDigest = digest(`manifest ${version}`);
  api.publish(manifestDigest, manifest);
  await api.call("createRelease", { body: { stackName: STACK, version, manifestDigest } });
}

type Outcome = "converged" | "failed" | "blocked" | "silent";

/** Plans a rollout and lets vehicles answer until nothing more happens by itself. */
async function rollOut(
  history: History,
  version: string,
  selector: string,
  outcome: (index: number) => Outcome,
): Promise<void> {
  const { api, clock } = history;
  const target = { type: "fleetSelector" as const, selector };
  const settings = { soakSec: 600, watchSec: 3600 };
  const made = await api.call("createRollout", {
    query: {},
    body: { target, stack: { name: STACK, version }, settings },
  });
  if (made.status !== 201) throw new Error("the seeded rollout was only planned");
  const { id } = made.body.data;
  for (let round = 0; round < STEPS_MAX; round++) {
    const stepped = await settle(history, id);
    const answered = await answer(history, version, outcome);
    const { data } = (await api.call("getRollout", { params: { id } })).body;
    if (data.endedAt !== null) return;
    const quiet = !stepped && !answered;
    const dueMs = data.next.at === null ? Number.POSITIVE_INFINITY : Date.parse(data.next.at) - clock.wallMs();
    if (quiet && dueMs > DAY_MS) return;
    clock.turn(quiet ? Math.max(MINUTE_MS, dueMs) : MINUTE_MS);
    for (const vehicle of history.vehicles) api.heartbeats.seen(vehicle.id);
    await api.heartbeats.flush();
  }
}

/** Takes every step that is due; true when there was one. */
async function settle({ database, clock, random, offlineAfterMs }: History, id: string): Promise<boolean> {
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const step = await advanceRollout(database.db, id, { clock, random, offlineAfterMs });
    if (step === undefined || step.kind === "wait") return steps > 0;
  }
  return true;
}

/** Every vehicle with an assignment that it has not answered yet does so; true when one did. */
async function answer(history: History, version: string, outcome: (index: number) => Outcome): Promise<boolean> {
  const rows = await history.database.db
    .selectFrom("vehicles")
    .select(["id", "desired_sequence", "desired_revision", "desired_version", "status"])
    .where("desired_sequence", ">", 0)
    .where("status", "=", "pending")
    .orderBy("id")
    .execute();
  let answered = false;
  for (const row of rows) {
    const index = history.vehicles.findIndex(({ id }) => id === row.id);
    const vehicle = history.vehicles[index];
    const revision = row.desired_revision;
    if (vehicle === undefined || revision === null) continue;
    const how = row.desired_version === version ? outcome(index) : "converged";
    if (how === "silent") continue;
    const stack = {
      name: STACK,
      version: row.desired_version ?? version,
      manifestDigest: digest(`manifest ${row.desired_version}`),
    };
    await report(history, vehicle, { ...REPORTS[how], stack, revision, sequence: row.desired_sequence });
    answered = true;
  }
  return answered;
}

interface Said {
  readonly status: ReconcileReport["status"];
  readonly phase: ReconcileReport["phase"];
  readonly reasonCodes: readonly ReasonCode[];
  readonly evidence: readonly Evidence[];
}

const REPORTS: Readonly<Record<Exclude<Outcome, "silent">, Said>> = {
  converged: { status: "converged", phase: "idle", reasonCodes: [], evidence: [] },
  blocked: {
    status: "blocked",
    phase: "gate",
    reasonCodes: ["DENY_LOW_BATTERY"],
    evidence: [
      {
        kind: "gate",
        reasonCode: "DENY_LOW_BATTERY",
        gate: "battery",
        signal: "battery",
        required: 35,
        seen: 21,
        ageMs: 300,
        problem: "out-of-bounds",
      },
    ],
  },
  failed: {
    status: "rolled_back",
    phase: "rollback",
    reasonCodes: ["READINESS_TIMEOUT", "ROLLBACK_APPLIED"],
    evidence: [
      {
        kind: "probe",
        reasonCode: "READINESS_TIMEOUT",
        probe: "planner-healthy",
        probeKind: "http",
        met: false,
        seen: 503,
        before: true,
        attempts: 60,
        waitedSec: 180,
      },
    ],
  },
};

async function report(
  { api, clock, random, tenant }: History,
  vehicle: SeedVehicle,
  said: Said & { readonly stack: StackRef; readonly revision: string; readonly sequence: number },
): Promise<void> {
  const { stack, revision, sequence, ...rest } = said;
  if (said.status === "converged") vehicle.runs = stack;
  vehicle.seq++;
  const signed: ReconcileReport = {
    ...rest,
    kind: "muto.reconcile-report/v1",
    vehicleId: vehicle.id,
    desiredStateRevision: revision,
    sequence,
    timings: said.status === "converged" ? { applySec: 48, readinessSec: 61 } : {},
    reportId: ulid(clock, random),
    installId: vehicle.installId,
    seq: vehicle.seq,
    bootId: vehicle.bootId,
    at: timestamp(clock.wallMs()),
    stack: vehicle.runs,
    set: vehicle.runs === null ? null : "active",
    committed: vehicle.runs,
    attempt: 1,
    rollbackReady: vehicle.runs !== null,
  };
  const token = await createVehicleToken(vehicle.signer, { vehicleId: vehicle.id, tenant, nowMs: clock.wallMs() });
  await api.call("postReconcileReports", { body: [await signReconcileReport(signed, vehicle.signer)] }, token);
}

function manifestOf(version: string): StackManifest {
  const parsed = parseStackManifest({
    kind: "muto.stack/v1",
    name: STACK,
    version,
    compatibility: { vehicleModels: ["vehicle-v3", "vehicle-v4"], os: ["ubuntu-22.04"], rosDistro: ["humble"] },
    resourceProfile: { diskMbMin: 8000 },
    healthModel: {
      readinessTimeoutSec: 180,
      probes: [{ kind: "node", name: "planner", workload: "bringup", node: "/planning/planner" }],
    },
    workloads: [
      { name: "bringup", type: "native", archive: digest(`archive ${version}`), argv: ["bin/bringup"] },
      // The camera's software changes less often than the rest, as it does in real fleets.
      { name: "camera", type: "oci", image: digest("camera"), devices: [{ path: "/dev/video0" }] },
    ],
  });
  if (!parsed.ok) throw new Error(`the seeded stack is not valid: ${JSON.stringify(parsed.problems)}`);
  return parsed.value;
}

function digest(text: string): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

function uuid(random: Random): string {
  const hex = Buffer.from(random.bytes(16)).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

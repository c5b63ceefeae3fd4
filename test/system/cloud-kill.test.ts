import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sql } from "kysely";
import { openStore } from "@muto/cloud/main";
import { readSettings } from "@muto/cloud/settings";
import { verifyAudit } from "@muto/cloud/store/audit";
import type { Db } from "@muto/cloud/store/database";
import { systemClock } from "@muto/kit/clock";
import { systemHttp } from "@muto/kit/http";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import { startSimulatedFleet } from "@muto/sim/fleet";
import type { SimulatedFleet } from "@muto/sim/fleet";
import { loadTrustFile } from "@muto/trust/trust-file";
import { runMuto } from "../../demo/program.ts";
import { mortal } from "./kills/mortal.ts";
import { createOperator } from "./kills/operator.ts";
import type { Operator } from "./kills/operator.ts";
import { createWitness } from "./kills/witness.ts";
import type { Witness } from "./kills/witness.ts";
import { startCloud } from "./world/cloud.ts";
import type { Cloud } from "./world/cloud.ts";
import { eventually } from "./world/eventually.ts";

/*
 * The control plane dies thirty times in the middle of one rollout: while it assigns, answers, stores, publishes, starts.
 * What it acknowledged it keeps, what it was told it does once, and the rollout ends as if nothing had happened.
 */

const KILLS = 30;
/** Half of them speak MQTT as well. */
const VEHICLES = 50;
const MAX_IN_FLIGHT = 6;
/** Moments: so many answers after it serves and a little later, or while it starts and opens its database. */
const ANSWERS_MAX = 50;
const LATER_MS_MAX = 100;
const EARLY_SHARE = 0.2;
const EARLY_MS_MAX = 800;
const POLL_SEC = 2;
const HEALTH_SEC = 5;
/** Of people, who are busy otherwise. */
const PACE_MS = 200;
const END_LIMIT_MS = 120_000;
const STACK = "simulated-stack";
const VERSION = "1.0.0";

const clock = systemClock();

/** Which moments are drawn; a run is repeated by MUTO_TEST_SEED, as far as the machine repeats itself. */
const seed = Number(process.env["MUTO_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000));

test(`a control plane that is killed ${KILLS} times in mid-rollout loses nothing and does nothing twice`, async (t) => {
  t.diagnostic(`MUTO_TEST_SEED=${seed} repeats these moments`);
  const random = seededRandom(seed);
  await using cloud = await startCloud();
  const life = mortal(cloud);
  await publish(cloud);
  const witness = createWitness(systemHttp(), async () => await life.serving());
  await using stack = new AsyncDisposableStack();
  const fleets = [
    stack.use(await startFleet(cloud, witness, { idPrefix: "poll-", mqttUrl: undefined })),
    stack.use(await startFleet(cloud, witness, { idPrefix: "mqtt-", mqttUrl: cloud.mqttUrl })),
  ];
  const vehicles = new Map(fleets.flatMap((fleet) => fleet.vehicles.map((vehicle) => [vehicle.id, vehicle])));
  const rolloutId = await createRollout(cloud);
  const vehicleIds = [...vehicles.keys()];
  const operator = createOperator({ ...cloud, random, rolloutId, vehicleIds, newIdPrefix: "extra-" });

  const over = new AbortController();
  stack.defer(() => over.abort());
  const kills = { done: 0 };
  // Vehicles stop one after another, so that the rollout lasts as long as the kills do, and moves all the time.
  const parked = new Set<string>();
  const parking = untilAborted(over.signal, async () => {
    if (parked.size >= (VEHICLES * kills.done) / KILLS) return;
    for (const id of await blockedMembers(cloud, rolloutId)) {
      if (parked.size >= (VEHICLES * kills.done) / KILLS) return;
      vehicles.get(id)?.signals.park();
      parked.add(id);
    }
  });
  const deciding = untilAborted(over.signal, async () => await operator.decide(over.signal));
  for (; kills.done < KILLS; kills.done++) {
    const starting = kills.done === 0 ? Promise.resolve(true) : life.start();
    if (random.fraction() < EARLY_SHARE) {
      await clock.sleep(random.fraction() * EARLY_MS_MAX);
    } else {
      assert.equal(await starting, true, "the control plane comes back after it was killed");
      await witness.answers(1 + Math.floor(random.fraction() * ANSWERS_MAX));
      await clock.sleep(random.fraction() * LATER_MS_MAX);
    }
    await life.kill();
    await starting;
  }
  assert.equal(await life.start(), true);
  const atLastKill = await rolloutOf(cloud, rolloutId);
  assert.equal(atLastKill.endedAt, null, "the rollout was still under way at the last kill");
  over.abort();
  await Promise.all([parking, deciding]);
  await operator.finish(AbortSignal.timeout(END_LIMIT_MS));
  for (const vehicle of vehicles.values()) vehicle.signals.park();

  const ended = await eventually(
    "the rollout ends",
    async () => {
      const rollout = await rolloutOf(cloud, rolloutId);
      return rollout.endedAt === null ? undefined : rollout;
    },
    { limitMs: END_LIMIT_MS, explain: async () => JSON.stringify(await rolloutOf(cloud, rolloutId), null, 1) },
  );
  assert.deepEqual(
    [ended.status, ended.outcome, ended.counts.converged, ended.counts.members],
    ["completed", "clean", VEHICLES, VEHICLES],
  );
  await stack.disposeAsync();
  for (const fleet of fleets) assertRanOnce(fleet);
  await cloud.stop();
  await inspect(cloud, { rolloutId, witness, operator });
  t.diagnostic(
    `${KILLS} kills, ${witness.acknowledged().length} reports and ${operator.acknowledged.length} decisions acknowledged`,
  );
});

/** What the database says once everything has ended. */
async function inspect(
  cloud: Cloud,
  { rolloutId, witness, operator }: { rolloutId: string; witness: Witness; operator: Operator },
): Promise<void> {
  const settings = readSettings({ MUTO_DATA_DIR: cloud.dataDir });
  assert.ok(settings.ok);
  const opened = await openStore(settings.settings, () => {});
  assert.ok(opened.ok);
  await using database = opened.database;
  const { db } = database;
  await assertAssignedOnce(db, rolloutId);
  await assertReportsKept(db, witness);
  await assertDecisionsKept(db, operator);
  const audit = await verifyAudit(db);
  assert.equal(audit.ok, true, JSON.stringify(audit));
}

/** Each vehicle was given the release once; whoever was told to wait meanwhile, again after each time, and only then. */
async function assertAssignedOnce(db: Db, rolloutId: string): Promise<void> {
  const { rows } = await sql<{ vehicle_id: string; sequences: number[]; orders: string[]; stages: string[] }>`
    select vehicle_id, array_agg(sequence order by sequence)::int[] as sequences,
      array_agg(cause || ' ' || start order by sequence) as orders, array_agg(distinct stage) as stages
    from assignments where rollout_id = ${rolloutId} group by vehicle_id order by vehicle_id`.execute(db);
  assert.equal(rows.length, VEHICLES);
  for (const { vehicle_id: id, sequences, orders, stages } of rows) {
    assert.deepEqual(
      sequences,
      sequences.map((_, index) => index + 1),
      `sequences of ${id}`,
    );
    assert.equal(stages.length, 1, `${id} is in one stage`);
    const expected = orders.map((_, index) =>
      index === 0 ? "rollout allowed" : index % 2 === 1 ? "withhold withheld" : "resume allowed",
    );
    assert.deepEqual(orders, expected, `assignments of ${id}`);
  }
}

/** Every report that was acknowledged is there, and every vehicle's reports are there without a gap. */
async function assertReportsKept(db: Db, witness: Witness): Promise<void> {
  const { rows } = await sql<{ vehicle_id: string; install_id: string; numbers: number[] }>`
    select vehicle_id, install_id, array_agg(seq order by seq)::int[] as numbers
    from reconcile_reports group by vehicle_id, install_id`.execute(db);
  const stored = new Map(rows.map((row) => [`${row.vehicle_id} ${row.install_id}`, row.numbers]));
  const missing = witness
    .acknowledged()
    .filter(({ vehicleId, installId, seq }) => stored.get(`${vehicleId} ${installId}`)?.includes(seq) !== true);
  assert.deepEqual(missing, []);
  assert.equal(rows.length, VEHICLES, "each vehicle has been one installation");
  for (const [name, numbers] of stored) {
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => index + 1),
      `reports of ${name}`,
    );
  }
  assert.ok(witness.receipts > 0, "reports were handed in over HTTP");
}

/** Every decision that was acknowledged is in the audit log, once. */
async function assertDecisionsKept(db: Db, operator: Operator): Promise<void> {
  const { rows } = await sql<{ action: string; subject: string; mark: string }>`
    select action, split_part(subject, ':', 2) as subject,
      coalesce(comment, after -> 'tags' ->> 'note', after ->> 'note') as mark
    from audit_log where actor like 'operator:%'`.execute(db);
  const entries = Map.groupBy(rows, ({ mark }) => mark);
  for (const { action, subjectId, mark } of operator.acknowledged) {
    assert.deepEqual(entries.get(mark), [{ action, subject: subjectId, mark }]);
  }
  assert.ok(operator.acknowledged.length >= KILLS / 2, `${operator.acknowledged.length} decisions were acknowledged`);
}

/** What really happened on the vehicles: the release was started once on each, and is running. */
function assertRanOnce(fleet: SimulatedFleet): void {
  assert.deepEqual(fleet.faults, []);
  for (const { id, runtime } of fleet.vehicles) {
    assert.deepEqual(
      runtime.history.map(({ what }) => what),
      ["start"],
      `what ran on ${id}`,
    );
  }
}

async function startFleet(
  cloud: Cloud,
  witness: Witness,
  kind: { readonly idPrefix: string; readonly mqttUrl: string | undefined },
): Promise<SimulatedFleet> {
  const trust = loadTrustFile(readFileSync(cloud.trustFile));
  assert.ok(trust.ok);
  return await startSimulatedFleet({
    ...kind,
    vehicles: VEHICLES / 2,
    seed,
    url: cloud.url,
    pollSec: POLL_SEC,
    healthSec: HEALTH_SEC,
    rampMs: 0,
    roots: trust.roots,
    http: witness.http,
    clock,
    logger: silentLogger,
    start: "driving",
    standstillSec: 0,
    register: async (vehicle) => {
      await cloud.session.call("createVehicle", { body: vehicle });
    },
  });
}

/** Builds, pushes, signs and registers the release with the command line. */
async function publish(cloud: Cloud): Promise<void> {
  const file = join(import.meta.dirname, "..", "..", "demo", "stacks", "simulated", `${VERSION}.yaml`);
  const key = join(cloud.dataDir, "keys", "release.key");
  const env = { MUTO_URL: cloud.url, MUTO_TOKEN: cloud.token };
  await runMuto(["release", "push", file, "--key", key, "--create"], { env, logFile: join(cloud.folder, "push.log") });
}

async function createRollout(cloud: Cloud): Promise<string> {
  const { body } = await cloud.session.call("createRollout", {
    body: {
      target: { type: "fleetSelector", selector: "simulated=yes" },
      stack: { name: STACK, version: VERSION },
      settings: { maxInFlight: MAX_IN_FLIGHT, soakSec: 1, watchSec: 1 },
    },
  });
  if (!("id" in body.data)) throw new Error("a rollout was planned, not created");
  return body.data.id;
}

async function rolloutOf(cloud: Cloud, id: string) {
  return (await cloud.session.call("getRollout", { params: { id } })).body.data;
}

/** Members that hold the release and drive. Nobody answers while the control plane is dead. */
async function blockedMembers(cloud: Cloud, id: string): Promise<readonly string[]> {
  const query = { class: "blocked", limit: 200 } as const;
  const listed = await cloud.session.call("listRolloutVehicles", { params: { id }, query }).catch(() => undefined);
  return (listed?.body.data ?? []).map(({ vehicleId }) => vehicleId);
}

async function untilAborted(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await work();
    await clock.sleep(PACE_MS, signal);
  }
}

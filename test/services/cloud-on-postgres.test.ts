import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { SYSTEM } from "@muto/cloud/store/actor";
import { issueAssignments, vehicleList } from "@muto/cloud/store/assignments";
import { appendAudit, verifyAudit } from "@muto/cloud/store/audit";
import { openDatabase } from "@muto/cloud/store/database";
import type { Database } from "@muto/cloud/store/database";
import { insertDesiredState } from "@muto/cloud/store/desired-states";
import { eventsAfter, placeEvents } from "@muto/cloud/store/events";
import { saveHeartbeats } from "@muto/cloud/store/health";
import { readMigrations } from "@muto/cloud/store/migrate";
import { startPostgres } from "./postgres.ts";
import type { PostgresServer } from "./postgres.ts";

const AT = "2026-11-23T10:00:00.000Z";
const root = join(import.meta.dirname, "..", "..");

describe("the control plane on PostgreSQL", () => {
  let server: PostgresServer;
  const opened: Database[] = [];
  before(async () => {
    server = await startPostgres();
  });
  after(async () => {
    for (const database of opened) await database[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const replica = async (url: string): Promise<Database> => {
    const result = await openDatabase({
      location: { url },
      migrations: await readMigrations(),
      clock: systemClock(),
      logger: silentLogger,
    });
    assert.ok(result.ok);
    opened.push(result.database);
    return result.database;
  };

  it("passes every test that it passes on the embedded database", async () => {
    const url = await server.createDatabase();
    const files = globSync("cloud/**/*.test.ts", { cwd: root, exclude: ["**/node_modules/**"] }).toSorted();
    assert.ok(files.length > 20);
    const { NODE_TEST_CONTEXT: _context, ...environment } = process.env;
    const child = spawn(process.execPath, ["--test", "--test-isolation=none", "--test-reporter=tap", ...files], {
      cwd: root,
      env: { ...environment, MUTO_TEST_DATABASE_URL: url },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "exit");
    const output = await text(child.stdout);
    const [code] = await ended;
    assert.equal(
      code,
      0,
      output
        .split("\n")
        .filter((line) => /^\s*not ok/.test(line))
        .join("\n"),
    );
    assert.match(output, /^# fail 0$/m);
  });

  it("migrates once when several replicas start at the same moment", async () => {
    const url = await server.createDatabase();
    await Promise.all([replica(url), replica(url), replica(url)]);
  });

  it("keeps one chain of audit entries and one order of events, whoever writes", async () => {
    const url = await server.createDatabase();
    const replicas = await Promise.all([replica(url), replica(url)]);
    const append = async (database: Database, id: string) =>
      await database.db.transaction().execute(async (trx) => {
        await appendAudit(trx, { at: AT, actor: SYSTEM, action: "vehicle.created", subject: { type: "vehicle", id } });
      });
    const placing = { done: false };
    const seen: number[] = [];
    const reading = (async () => {
      const [, reader] = replicas;
      assert.ok(reader);
      while (!placing.done || seen.length < 200) {
        await placeEvents(reader.db);
        for (const { position } of await eventsAfter(reader.db, seen.at(-1) ?? 0, 50)) seen.push(position);
      }
    })();
    const writers = replicas.flatMap((database, index) =>
      Array.from({ length: 5 }, async (_, writer) => {
        for (let number = 0; number < 20; number++) await append(database, `v-${index}-${writer}-${number}`);
      }),
    );
    await Promise.all(writers);
    placing.done = true;
    await reading;
    assert.equal((await verifyAudit(replicas[0].db)).ok, true);
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, index) => index + 1),
      "no event is missed by a reader that follows",
    );
  });

  it("assigns and takes heartbeats of the same vehicles at the same time, without a deadlock, and every sequence once", async () => {
    const url = await server.createDatabase();
    const [one, two] = await Promise.all([replica(url), replica(url)]);
    const ids = Array.from({ length: 300 }, (_, index) => `vehicle-${String(index).padStart(3, "0")}`);
    await one.db
      .insertInto("vehicles")
      .values(ids.map((id) => ({ id, tags: "{}", created_at: AT, updated_at: AT, status_since: AT })))
      .execute();
    await one.db
      .insertInto("releases")
      .values({
        name: "autonomy",
        version: "1.0.0",
        manifest_digest: `sha256:${"1".repeat(64)}`,
        repository: "autonomy",
        artifacts: "[]",
        compatibility: "{}",
        resource_profile: "{}",
        health_model: "{}",
        manifest: "{}",
        signatures: "[]",
        signature_present: true,
        signature_verified: true,
        created_at: AT,
        created_by: "operator:alice",
      })
      .execute();
    const revision = "dsr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    await insertDesiredState(one.db, {
      revision,
      target: { type: "vehicleList", vehicleIds: [] },
      stack: { name: "autonomy", version: "1.0.0", manifestDigest: `sha256:${"1".repeat(64)}` },
      policy: { requireVehicleStationary: true, denyIfAutonomousMode: true, requireBatteryPctMin: 35 },
      start: "allowed",
      retry: false,
      startBeforeSec: 3600,
      rollout: { strategy: "direct" },
      reach: { vehicles: 0, withoutCanary: 0 },
      correlationId: "00000000-0000-4000-8000-000000000001",
      createdAt: AT,
      createdBy: { type: "operator", id: "alice" },
    });
    const assign = async (database: Database, some: readonly string[]) =>
      await database.db.transaction().execute(
        async (trx) =>
          await issueAssignments(
            trx,
            {
              revision,
              rolloutId: null,
              stage: null,
              start: "allowed",
              cause: "direct",
              correlationId: "00000000-0000-4000-8000-000000000001",
              issuedAt: AT,
              offlineBefore: AT,
            },
            vehicleList(some),
          ),
      );
    const beat = async (database: Database, some: readonly string[]) =>
      await saveHeartbeats(
        database.db,
        some.map((vehicleId) => ({ vehicleId, at: AT })),
        { at: AT, offlineBefore: AT },
      );
    const backwards = ids.toReversed();
    const rounds = 10;
    await Promise.all(
      Array.from({ length: rounds }, async (_, round) => {
        const [here, there] = round % 2 === 0 ? [one, two] : [two, one];
        await Promise.all([assign(here, ids), beat(there, backwards), beat(here, ids)]);
      }),
    );
    const rows = await one.db.selectFrom("vehicles").select("desired_sequence").distinct().execute();
    assert.deepEqual(rows, [{ desired_sequence: rounds }]);
    const newest = await one.db
      .selectFrom("assignments")
      .select((select) => select.fn.countAll<number>().as("count"))
      .where("superseded_at", "is", null)
      .executeTakeFirstOrThrow();
    assert.equal(newest.count, ids.length);
  });

  it("wakes listeners again after the server has crashed and come back", async () => {
    const url = await server.createDatabase();
    const database = await replica(url);
    let woken = Promise.withResolvers<void>();
    await using _listening = await database.listen("muto_work", () => woken.resolve());
    woken = Promise.withResolvers<void>();
    await server.crash();
    await assert.rejects(database.db.selectFrom("vehicles").select("id").execute());
    await server.restart();
    await woken.promise;
    assert.deepEqual(await database.db.selectFrom("vehicles").select("id").execute(), []);
  });
});

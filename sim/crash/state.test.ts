import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { openState } from "@muto/agent/cache/state";
import { applyRecord } from "@muto/agent/reconcile/records";
import type { JournalRecord } from "@muto/agent/reconcile/records";
import { EMPTY_STATE } from "@muto/agent/reconcile/state";
import type { AgentState, SetRef } from "@muto/agent/reconcile/state";
import { DiskError } from "@muto/kit/disk";
import { JournalError } from "@muto/kit/journal";
import { seededRandom } from "@muto/kit/random";
import { crashEverywhere, failEverywhere } from "../crash-points.ts";
import type { CrashScenario } from "../crash-points.ts";
import { SimulatedDisk } from "../disk.ts";

const folder = "/state";
const limits = { capacityBytes: 6000, reserveBytes: 1500 };
const open = (disk: SimulatedDisk) => openState({ disk, folder, limits });

const set = (digit: string): SetRef => ({
  manifestDigest: `sha256:${digit.repeat(64)}`,
  stackName: "autonomy-core",
  version: "1.0.0",
  desiredStateRevision: "dsr_01ARYZ6S410000000000000000",
  sequence: 1,
  repository: "stacks/autonomy-core",
});
const at = { bootId: "boot", monotonicMs: 1, wallMs: 2 };

/** A change, its commit, and enough beside it that the journal is compacted on the way. */
const life: readonly JournalRecord[] = [
  { kind: "staged", set: set("a"), timings: { downloadSec: 2 } },
  {
    kind: "trial-begun",
    trial: {
      changeId: "01ARYZ6S410000000000000000",
      set: set("a"),
      from: null,
      phase: "stopping",
      attempt: 1,
      begun: at,
      since: at,
      reboots: 0,
      poweredMs: 0,
      before: [],
      timings: {},
    },
  },
  { kind: "trial-phase", phase: "starting", at, timings: {} },
  { kind: "trial-phase", phase: "probing", at, timings: { applySec: 1 } },
  { kind: "committed", securityEpoch: 3, atMs: 10 },
  ...Array.from({ length: 12 }, (_, index): JournalRecord => ({
    kind: "exited",
    exit: {
      instanceId: `instance-${index}`.padEnd(200, "x"),
      set: set("a").manifestDigest,
      workload: "w",
      at,
      code: 1,
      signal: null,
    },
  })),
  { kind: "reported", reported: { key: "k", atMs: 11 } },
];

interface Told {
  certain: AgentState;
  possible: AgentState;
}

const scenario: CrashScenario<Told> = {
  prepare: (disk) => disk.makeFolder(folder),
  run: async (disk, told) => {
    const { store } = await open(disk);
    for (const record of life) {
      told.possible = applyRecord(told.certain, record);
      await store.record(record);
      told.certain = told.possible;
      assert.deepEqual(store.state, told.certain);
    }
  },
  nothingTold: () => ({ certain: EMPTY_STATE, possible: EMPTY_STATE }),
  check: async (disk, told, cause) => {
    const { store, unreadableRecords } = await open(disk);
    assert.equal(unreadableRecords, 0, cause);
    assert.ok(
      [told.certain, told.possible].some((each) => isDeepStrictEqual(each, store.state)),
      cause,
    );
  },
  statesMax: 40,
};

void test("H7: whatever instant the power fails, the state is the one before the record or the one after it", async () => {
  const figures = await crashEverywhere(scenario);
  assert.ok(figures.points > 60 && figures.states > 150, JSON.stringify(figures));
});

for (const fault of [
  { kind: "refuse", code: "EIO" },
  { kind: "loseSync" },
  { kind: "partial", code: "EIO" },
] as const) {
  void test(`one ${fault.kind} at any operation: the record is refused with a code, and nothing that was durable is lost`, async () => {
    let refused = 0;
    await failEverywhere<Told>(
      {
        ...scenario,
        run: async (disk, told) => {
          try {
            await scenario.run(disk, told);
          } catch (error) {
            assert.ok(error instanceof JournalError || error instanceof DiskError, String(error));
            refused += 1;
          }
        },
      },
      fault,
    );
    assert.ok(refused > 10);
  });
}

void test("H8: with the disk full and the journal full, the records of a rollback still find room, again and again", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const { store } = await open(disk);
  for (const record of life.slice(0, 8)) await store.record(record);
  disk.leaveFree(0);
  const trial = life.find((record) => record.kind === "trial-begun");
  assert.ok(trial?.kind === "trial-begun");
  for (let round = 0; round < 50; round++) {
    await store.record({ kind: "trial-begun", trial: { ...trial.trial, set: set("b"), from: set("a") } });
    await store.record({ kind: "trial-phase", phase: "starting", at, timings: {} });
    await store.record({
      kind: "rollback-begun",
      rollback: {
        changeId: "01ARYZ6S410000000000000000",
        from: set("b"),
        to: set("a"),
        phase: "stopping",
        wasReady: false,
        cause: { reasonCodes: ["READINESS_TIMEOUT"], evidence: [] },
        attempt: 1,
        desiredStateRevision: "dsr_01ARYZ6S410000000000000000",
        sequence: 1,
        begun: at,
        since: at,
        before: [],
      },
    });
    await store.record({ kind: "rollback-phase", phase: "probing", at });
    await store.record({ kind: "rollback-ended", outcome: "applied", evidence: [], atMs: round, timings: {} });
  }
  const { store: again } = await open(disk);
  assert.deepEqual(again.state, store.state);
  assert.equal(again.state.active?.manifestDigest, set("a").manifestDigest);
  assert.equal(again.state.quarantine[0]?.attempts, 50);
});

void test("a state too large for the full disk refuses what can wait and takes what cannot", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const { store } = await open(disk);
  await store.record({ kind: "staged", set: set("a"), timings: {} });
  disk.leaveFree(0);
  const exit = (index: number): JournalRecord => ({
    kind: "exited",
    exit: {
      instanceId: `instance-${index}`.padEnd(400, "x"),
      set: set("a").manifestDigest,
      workload: "w",
      at,
      code: 1,
      signal: null,
    },
  });
  let taken = 0;
  await assert.rejects(
    async () => {
      for (let tries = 0; tries < 1000; tries++) {
        await store.record(exit(taken));
        taken += 1;
      }
    },
    { code: "full" },
  );
  assert.ok(taken > 3);
  assert.equal(store.fault, undefined);
  await store.record({ kind: "stranded", outcome: { ...outcome, from: set("a") } });
  assert.deepEqual((await open(disk)).store.state, store.state);
  assert.equal(store.state.exits.length, taken);
});

const outcome = {
  kind: "failed",
  to: null,
  cause: { reasonCodes: [], evidence: [] },
  attempt: 1,
  desiredStateRevision: "dsr_01ARYZ6S410000000000000000",
  sequence: 1,
  atMs: 1,
} as const;

void test("a damaged snapshot costs nothing: it was written twice", async () => {
  for (let byte = 50; byte < 400; byte += 7) {
    const disk = new SimulatedDisk();
    await disk.makeFolder(folder);
    const first = await open(disk);
    for (const record of life.slice(0, 5)) await first.store.record(record);
    for (let count = 0; count < 120; count++) await first.store.record({ kind: "refusal-cleared" });
    await first.store.record({ kind: "reported", reported: { key: "k", atMs: 11 } });
    const { state } = first.store;
    await first.store[Symbol.asyncDispose]();
    disk.flipBit(`${folder}/state`, byte, byte % 8);
    const { store, found } = await open(disk);
    assert.equal(found.kind, "damaged");
    assert.deepEqual(store.state, state);
    // And it is whole again.
    await store.record({ kind: "refusal-cleared" });
    assert.equal((await open(disk)).found.kind, "intact");
  }
});

void test("records that this agent cannot read are passed over and counted", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const { store } = await open(disk);
  await store.record({ kind: "staged", set: set("a"), timings: {} });
  await store[Symbol.asyncDispose]();
  const { openJournal } = await import("@muto/kit/journal");
  const { journal } = await openJournal({ disk, path: `${folder}/state`, limits: { ...limits, recordBytesMax: 1000 } });
  await journal.append(Buffer.from('{"kind":"of-a-newer-agent"}'));
  await journal.append(Buffer.from("not even JSON"));
  await journal.close();
  const again = await open(disk);
  assert.equal(again.unreadableRecords, 2);
  assert.deepEqual(again.store.state, store.state);
});

void test("a record that could not be read back is a bug that shows at once, not after the next start", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const { store } = await open(disk);
  const before = disk.operations;
  const unreadable: JournalRecord = { kind: "staged", set: { ...set("a"), manifestDigest: "no digest" }, timings: {} };
  await assert.rejects(store.record(unreadable), /cannot be read back/);
  assert.equal(disk.operations, before);
  assert.equal(store.state, EMPTY_STATE);
});

void test("idle writes nothing; a record that does not fit the state writes nothing", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const { store } = await open(disk);
  const before = disk.operations;
  await store.record({ kind: "trial-abandoned" });
  await store.record({ kind: "rollback-phase", phase: "probing", at });
  assert.equal(disk.operations, before);
  for (const after of disk.crashed(10, seededRandom(1)).disks)
    assert.deepEqual((await open(after)).store.state, EMPTY_STATE);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { openOutbox } from "@muto/agent/link/outbox";
import type { Outbox } from "@muto/agent/link/outbox";
import { DiskError } from "@muto/kit/disk";
import { JournalError } from "@muto/kit/journal";
import { crashEverywhere, failEverywhere } from "../crash-points.ts";
import type { CrashScenario } from "../crash-points.ts";
import { SimulatedDisk } from "../disk.ts";

const folder = "/state";
const limits = { entriesMax: 6, bytesMax: 1500, inFlightMax: 3, journalBytes: 3072 };
const ANY_BYTES = 1_000_000;

/** What left the vehicle, as an observer on the network has it. */
interface Told {
  readonly queued: Set<string>;
  readonly acknowledged: Set<string>;
  readonly numbers: Map<string, string>;
}

let installs = 0;

async function open(disk: SimulatedDisk): Promise<Outbox> {
  const { outbox } = await openOutbox({
    disk,
    folder,
    seal: async ({ installId, seq, body }) =>
      Buffer.from(`${installId}/${seq}/${Buffer.from(body.subarray(0, 8)).toString()}`),
    newInstallId: () => `install-${++installs}`,
    limits,
  });
  return outbox;
}

async function append(outbox: Outbox, told: Told, reportId: string, terminal: boolean): Promise<void> {
  const body = Buffer.alloc(250, reportId.padEnd(8));
  assert.equal(await outbox.append({ reportId, terminal, mergeKey: null, body }), "queued");
  if (terminal) told.queued.add(reportId);
}

/** Sends, and holds every number that is seen against all that were seen before. */
async function send(outbox: Outbox, told: Told, cause: string): Promise<void> {
  const before = outbox.installId;
  const pending = await outbox.pending(ANY_BYTES);
  let last: number | undefined;
  for (const { seq, reportId, envelope } of pending) {
    const name = `${before}/${seq}`;
    assert.equal(told.numbers.get(name) ?? reportId, reportId, `${cause}: number ${name} for two reports`);
    told.numbers.set(name, reportId);
    assert.ok(Buffer.from(envelope).toString().startsWith(`${name}/${reportId}`), cause);
    assert.ok(last === undefined || seq === last + 1, `${cause}: a gap before ${seq}`);
    if (seq > 1) assert.ok(told.numbers.has(`${before}/${seq - 1}`), `${cause}: a gap before ${name}`);
    last = seq;
  }
}

async function acknowledge(outbox: Outbox, told: Told, count: number): Promise<void> {
  const taken = (await outbox.pending(ANY_BYTES)).slice(0, count);
  for (const { reportId } of taken) told.acknowledged.add(reportId);
  await outbox.acknowledge(outbox.installId, taken.at(-1)?.seq ?? 0);
}

const scenario: CrashScenario<Told> = {
  prepare: (disk) => disk.makeFolder(folder),
  run: async (disk, told) => {
    const outbox = await open(disk);
    for (let round = 0; round < 4; round++) {
      await append(outbox, told, `r${round}`, false);
      await append(outbox, told, `end${round}`, true);
      await send(outbox, told, "run");
      await acknowledge(outbox, told, 2);
    }
  },
  nothingTold: () => ({ queued: new Set(), acknowledged: new Set(), numbers: new Map() }),
  check: async (disk, told, cause) => {
    const seen: Told = { ...told, queued: new Set(), numbers: new Map(told.numbers) };
    const outbox = await open(disk);
    const arrived = new Set(told.acknowledged);
    for (let round = 0; round < 6 && outbox.waiting > 0; round++) {
      await send(outbox, seen, cause);
      const pending = await outbox.pending(ANY_BYTES);
      for (const { reportId } of pending) arrived.add(reportId);
      await outbox.acknowledge(outbox.installId, pending.at(-1)?.seq ?? 0);
    }
    for (const outcome of told.queued) assert.ok(arrived.has(outcome), `${cause}: ${outcome} is lost`);
    await append(outbox, seen, "later", true);
    await send(outbox, seen, cause);
  },
  statesMax: 30,
};

void test("whatever instant the power fails: every outcome arrives, no number means two reports, none is missing", async () => {
  const figures = await crashEverywhere(scenario);
  assert.ok(figures.points > 40 && figures.states > 100, JSON.stringify(figures));
});

for (const fault of [{ kind: "refuse", code: "EIO" }, { kind: "loseSync" }] as const) {
  void test(`one ${fault.kind} at any operation: the same holds, and the outbox says that it is faulted`, async () => {
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
    assert.ok(refused > 5);
  });
}

void test("H8: on a full disk outcomes are still taken in, numbered and sent", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder(folder);
  const outbox = await open(disk);
  disk.leaveFree(0);
  const told = scenario.nothingTold();
  for (let round = 0; round < 100; round++) {
    await append(outbox, told, `end${round}`, true);
    await send(outbox, told, "full disk");
    await acknowledge(outbox, told, 1);
  }
  assert.equal(outbox.waiting, 0);
  assert.equal(told.acknowledged.size, 100);
});

void test("H19: with a damaged journal a new sequence begins, and what can still be read is sent in it", async () => {
  for (let byte = 24; byte < 700; byte += 31) {
    const disk = new SimulatedDisk();
    await disk.makeFolder(folder);
    const first = await open(disk);
    const told = scenario.nothingTold();
    for (const id of ["a", "b", "c"]) await append(first, told, id, true);
    await send(first, told, "before");
    await first[Symbol.asyncDispose]();
    disk.flipBit(`${folder}/outbox`, byte, byte % 8);
    const again = await open(disk);
    assert.notEqual(again.installId, first.installId, `byte ${byte}`);
    await send(again, told, `byte ${byte}`);
    assert.ok(again.waiting >= 2, `byte ${byte}`);
  }
});

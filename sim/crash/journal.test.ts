import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskError } from "@muto/kit/disk";
import { JournalError, openJournal } from "@muto/kit/journal";
import type { Journal } from "@muto/kit/journal";
import { seededRandom } from "@muto/kit/random";
import fc from "fast-check";
import { crashEverywhere, failEverywhere } from "../crash-points.ts";
import type { CrashScenario } from "../crash-points.ts";
import { SimulatedDisk } from "../disk.ts";

const path = "/state/journal";
const limits = { capacityBytes: 2048, reserveBytes: 256, recordBytesMax: 1024 };

interface Told {
  /** What is durable for certain, and what may be besides: at most the one call that was under way. */
  certain: string[];
  possible: string[] | undefined;
}

const open = (disk: SimulatedDisk) => openJournal({ disk, path, limits });
const nothingTold = (): Told => ({ certain: [], possible: undefined });
const bytes = (text: string) => Buffer.from(text);
const texts = (records: readonly Uint8Array[]) => records.map((record) => Buffer.from(record).toString());
/** Long enough to lie in three sectors. */
const long = (name: string) => name.padEnd(1000, name);

async function append(journal: Journal, told: Told, record: string): Promise<void> {
  told.possible = [...told.certain, record];
  await journal.append(bytes(record));
  told.certain = told.possible;
  told.possible = undefined;
}

async function compact(journal: Journal, told: Told, records: string[]): Promise<void> {
  told.possible = records;
  await journal.compact(records.map(bytes));
  told.certain = records;
  told.possible = undefined;
}

async function check(disk: SimulatedDisk, told: Told, cause: string): Promise<void> {
  const { journal, records, found } = await open(disk);
  const read = texts(records);
  assert.notEqual(found.kind, "damaged", cause);
  const allowed = [told.certain, ...(told.possible === undefined ? [] : [told.possible])];
  assert.ok(
    allowed.some((each) => JSON.stringify(each) === JSON.stringify(read)),
    `${cause}: read ${JSON.stringify(read)}, allowed ${JSON.stringify(allowed)}`,
  );
  // It goes on from there, and what was read stays read whatever happens next.
  await journal.append(bytes("after"));
  for (const later of disk.crashed(16, seededRandom(1)).disks) {
    const opened = await open(later);
    assert.deepEqual(texts(opened.records), [...read, "after"], cause);
    assert.equal(opened.found.kind, "intact", `${cause}: nothing of what was dropped is left behind the records`);
  }
}

const life: CrashScenario<Told> = {
  prepare: (disk) => disk.makeFolder("/state"),
  run: async (disk, told) => {
    const { journal } = await open(disk);
    await append(journal, told, "one");
    await append(journal, told, long("two"));
    await compact(journal, told, ["snapshot"]);
    await append(journal, told, "three");
    await compact(journal, told, ["snapshot 2", "rest"]);
    await append(journal, told, long("four"));
    await journal.close();
  },
  nothingTold,
  check,
  statesMax: 2_000,
};

void test("H8: whatever instant the power fails, the journal holds what it acknowledged", async () => {
  const figures = await crashEverywhere(life);
  assert.ok(figures.points > 40 && figures.states > 200, JSON.stringify(figures));
  assert.equal(figures.sampledPoints, 0);
});

void test("a second crash during recovery, at whatever instant, changes nothing", async () => {
  let torn = 0;
  const first = new SimulatedDisk();
  await first.makeFolder("/state");
  const { journal } = await open(first);
  await journal.append(bytes("one"));
  // The sync of the second record never returns: its three sectors survive in any combination.
  const hanging = new SimulatedDisk({
    fault: ({ kind, index }) => (kind === "fileSync" && index > 30 ? { kind: "hang" } : undefined),
  });
  await hanging.makeFolder("/state");
  const second = (await open(hanging)).journal;
  while (hanging.operations <= 30) await second.append(bytes("one"));
  const before = texts((await open(first)).records).length;
  assert.equal(before, 1);
  void second.append(bytes(long("two")));
  await new Promise(setImmediate);
  for (const found of hanging.crashed(500, seededRandom(1)).disks) {
    const image = await allFiles(found);
    const figures = await crashEverywhere<Told>({
      prepare: (disk) => writeAll(disk, image),
      run: async (disk, told) => {
        const opened = await open(disk);
        if (opened.found.kind === "torn") torn += 1;
        told.certain = texts(opened.records);
      },
      nothingTold,
      check: async (disk, told, cause) => {
        const opened = await open(disk);
        assert.notEqual(opened.found.kind, "damaged", cause);
        assert.deepEqual(texts(opened.records).slice(0, told.certain.length), told.certain, cause);
        await opened.journal.append(bytes("x"));
        assert.equal(texts((await open(disk)).records).at(-1), "x", cause);
      },
      statesMax: 500,
    });
    assert.ok(figures.points > 1);
  }
  assert.ok(torn > 0);
});

for (const fault of [
  { kind: "refuse", code: "EIO" },
  { kind: "partial", code: "EIO" },
  { kind: "loseSync" },
  { kind: "refuse", code: "ENOSPC" },
] as const) {
  void test(`one ${fault.kind} ${"code" in fault ? fault.code : ""} anywhere loses nothing that was acknowledged`, async () => {
    const seen = new Set<string>();
    const figures = await failEverywhere<Told>(
      {
        ...life,
        run: async (disk, told) => {
          try {
            await life.run(disk, told);
          } catch (error) {
            if (error instanceof JournalError) seen.add(error.code);
            else assert.ok(error instanceof DiskError);
          }
        },
        // The record under way when the disk failed may be read again by a process that lives on, and only by it.
      },
      fault,
    );
    assert.ok(figures.points > 40);
    assert.ok(seen.has("faulted"), [...seen].join());
  });
}

void test("after a failed sync it never syncs that file again and refuses all appends with a code", async () => {
  let failing = false;
  const touched: string[] = [];
  const disk = new SimulatedDisk({
    fault: ({ kind }) => {
      if (!failing) return undefined;
      touched.push(kind);
      return kind === "fileSync" ? { kind: "loseSync" } : undefined;
    },
  });
  await disk.makeFolder("/state");
  const { journal } = await open(disk);
  await journal.append(bytes("one"));
  failing = true;
  await assert.rejects(journal.append(bytes("two")), { code: "faulted" });
  const before = touched.length;
  await assert.rejects(journal.append(bytes("three")), { code: "faulted" });
  await assert.rejects(journal.compact([]), { code: "faulted" });
  assert.equal(touched.length, before);
  assert.equal(journal.fault?.code, "faulted");
  failing = false;
  // The page cache still shows "two". A new process makes it durable before it believes it.
  disk.kill();
  const again = texts((await open(disk)).records);
  for (const later of disk.crashed(100, seededRandom(1)).disks) {
    assert.deepEqual(texts((await open(later)).records), again);
  }
});

void test("H8: on a full disk appends go on, the reserve is kept for those who may use it, and compaction needs no space", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder("/state");
  const { journal } = await open(disk);
  disk.leaveFree(0);
  for (let round = 0; round < 20; round++) {
    while (journal.hasRoom(100)) await journal.append(new Uint8Array(100));
    await assert.rejects(journal.append(new Uint8Array(100)), { code: "full" });
    await journal.append(bytes("rollback begins"), "reserve");
    await journal.compact([bytes(`round ${round}`)]);
  }
  assert.deepEqual(texts((await open(disk)).records), ["round 19"]);
  await assert.rejects(journal.compact([new Uint8Array(1000), new Uint8Array(1000)]), { code: "noSpace" });
  assert.equal(journal.fault, undefined);
  await journal.append(bytes("and on"));
  await journal.compact([bytes("small again")]);
  assert.deepEqual(texts((await open(disk)).records), ["small again"]);
});

void test("H8: a compaction cut off after its switch gives the old file's space to the spare, to nobody else", async () => {
  const disk = new SimulatedDisk({
    fault: ({ kind, path: to }) => (kind === "rename" && to === `${path}.spare` ? { kind: "hang" } : undefined),
  });
  await disk.makeFolder("/state");
  const { journal } = await open(disk);
  void journal.compact([bytes("snapshot")]);
  await new Promise(setImmediate);
  const removed: string[] = [];
  const [after] = disk.crashed(1, seededRandom(1), {
    fault: ({ kind, path: at }) => {
      if (kind === "remove") removed.push(at);
      return undefined;
    },
  }).disks;
  assert.ok(after !== undefined);
  assert.deepEqual(texts((await open(after)).records), ["snapshot"]);
  assert.deepEqual(removed, []);
  assert.deepEqual(
    (await after.list("/state")).map(({ name }) => name),
    ["journal", "journal.spare"],
  );
});

void test("records that outgrow the file make it grow when there is space", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder("/state");
  const { journal } = await open(disk);
  const large = Array.from({ length: 5 }, (_, index) => bytes(long(String(index))));
  await journal.compact(large);
  assert.ok(journal.capacityBytes > limits.capacityBytes);
  await journal.append(bytes("more"));
  assert.deepEqual(texts((await open(disk)).records), [...texts(large), "more"]);
});

void test("any single wrong bit in the middle is damage: reported, prefix kept, rest salvaged, file kept aside", async () => {
  const written = ["one", "two", "three", "four"];
  for (let at = 0; at < 150; at++) {
    const disk = new SimulatedDisk();
    await disk.makeFolder("/state");
    const { journal } = await open(disk);
    for (const record of written) await journal.append(bytes(record));
    const lastStart = journal.sizeBytes - 20 - "four".length;
    await journal.close();
    disk.flipBit(path, at, at % 8);
    const opened = await open(disk);
    const prefix = texts(opened.records);
    if (at >= 20 && at < 24) {
      assert.equal(opened.found.kind, "intact", `padding byte ${at}`);
      continue;
    }
    if (at >= lastStart) {
      // Wrong bytes at the very end cannot be told from an append that was interrupted.
      assert.ok(opened.found.kind === "torn" || at >= journal.sizeBytes, `byte ${at}`);
      assert.deepEqual(prefix, at >= journal.sizeBytes ? written : written.slice(0, 3));
      continue;
    }
    assert.ok(opened.found.kind === "damaged", `byte ${at}: ${opened.found.kind}`);
    const salvaged = texts(opened.found.salvaged);
    assert.deepEqual(prefix, written.slice(0, prefix.length));
    assert.equal(salvaged.at(-1), "four");
    assert.ok(prefix.length + salvaged.length >= 3);
    await assert.rejects(opened.journal.append(bytes("x")), { code: "damaged" });
    await opened.journal.compact([bytes("from what is left")]);
    await opened.journal.append(bytes("x"));
    assert.deepEqual(texts((await open(disk)).records), ["from what is left", "x"]);
    assert.ok((await disk.stat(`${path}.damaged`)) !== undefined);
  }
});

void test("it behaves like a list, whatever is appended, compacted, reopened or cut off", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("append" as const), record: fc.uint8Array({ maxLength: 400 }) }),
    fc.record({ kind: fc.constant("compact" as const), keep: fc.nat({ max: 3 }) }),
    fc.record({ kind: fc.constantFrom("reopen" as const, "kill" as const, "powerCut" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(), async (steps, seed) => {
      const random = seededRandom(seed);
      const disk = new SimulatedDisk();
      await disk.makeFolder("/state");
      let { journal } = await open(disk);
      let model: Uint8Array[] = [];
      for (const each of steps) {
        switch (each.kind) {
          case "append":
            if (!journal.hasRoom(each.record.byteLength)) break;
            await journal.append(each.record);
            model.push(new Uint8Array(each.record));
            break;
          case "compact":
            model = model.slice(-each.keep);
            await journal.compact(model);
            break;
          case "reopen":
          case "kill":
          case "powerCut": {
            if (each.kind === "reopen") await journal.close();
            if (each.kind === "kill") disk.kill();
            if (each.kind === "powerCut") disk.cutPower(random);
            const opened = await open(disk);
            assert.deepEqual(opened.records, model);
            journal = opened.journal;
            break;
          }
        }
      }
    }),
    { numRuns: 150 },
  );
});

async function allFiles(disk: SimulatedDisk): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const { name } of await disk.list("/state")) {
    const content = await disk.read(`/state/${name}`);
    if (content !== undefined) files.set(`/state/${name}`, content);
  }
  return files;
}

async function writeAll(disk: SimulatedDisk, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  await disk.makeFolder("/state");
  for (const [name, content] of files) {
    await using file = await disk.open(name, "create");
    await file.write(0, content);
    await file.sync();
  }
  await disk.syncFolder("/state");
}

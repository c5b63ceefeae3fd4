import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskError } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import { seededRandom } from "@muto/kit/random";
import { SimulatedDisk } from "./disk.ts";

const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString();
const refuses = (code: string) => (error: unknown) => {
  assert.ok(error instanceof DiskError, String(error));
  assert.equal(error.code, code);
  return true;
};

async function write(disk: Disk, path: string, content: string): Promise<void> {
  await using file = await disk.open(path, "create");
  await file.write(0, Buffer.from(content));
}

async function statesAfter(work: (disk: SimulatedDisk) => Promise<void>, path: string): Promise<Set<string>> {
  const disk = new SimulatedDisk();
  await disk.makeFolder("/f");
  await work(disk);
  const found = new Set<string>();
  const { disks, exhaustive } = disk.crashed(10_000, seededRandom(1));
  assert.ok(exhaustive);
  for (const after of disks) found.add(text(await after.read(path))?.replaceAll("\0", "0") ?? "none");
  return found;
}

void test("without any sync a power cut leaves nothing, a name, a length, or any of it", async () => {
  const states = await statesAfter((disk) => write(disk, "/f/a", "xy"), "/f/a");
  assert.deepEqual(states, new Set(["none", "", "00", "xy"]));
});

void test("bytes are durable after a sync of the file, names after a sync of the folder", async () => {
  const synced = async (disk: SimulatedDisk) => {
    await using file = await disk.open("/f/a", "create");
    await file.write(0, Buffer.from("xy"));
    await file.sync();
  };
  assert.deepEqual(await statesAfter(synced, "/f/a"), new Set(["none", "xy"]));
  const both = async (disk: SimulatedDisk) => {
    await synced(disk);
    await disk.syncFolder("/f");
  };
  assert.deepEqual(await statesAfter(both, "/f/a"), new Set(["xy"]));
});

void test("the sectors of a write survive in any combination", async () => {
  const states = await statesAfter(async (disk) => {
    await using file = await disk.open("/f/a", "create");
    await file.write(0, Buffer.alloc(1024, "-"));
    await file.sync();
    await disk.syncFolder("/f");
    await file.write(256, Buffer.alloc(512, "+"));
  }, "/f/a");
  const shape = (before: string, after: string) =>
    "-".repeat(256) + before.repeat(256) + after.repeat(256) + "-".repeat(256);
  assert.deepEqual(states, new Set([shape("-", "-"), shape("+", "-"), shape("-", "+"), shape("+", "+")]));
});

void test("replacing a file without syncs can lose both contents, as on a real disk", async () => {
  const states = await statesAfter(async (disk) => {
    await write(disk, "/f/a", "old");
    await using file = await disk.open("/f/a", "update");
    await file.sync();
    await disk.syncFolder("/f");
    await write(disk, "/f/b", "new");
    await disk.rename("/f/b", "/f/a");
  }, "/f/a");
  assert.deepEqual(states, new Set(["old", "", "000", "new"]));
});

void test("names survive as a prefix: never a later one without an earlier one", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder("/f");
  for (const name of ["a", "b", "c"]) await write(disk, `/f/${name}`, "");
  const states = new Set<string>();
  for (const after of disk.crashed(100, seededRandom(1)).disks) {
    states.add((await after.list("/f")).map(({ name }) => name).join(""));
  }
  assert.deepEqual(states, new Set(["", "a", "ab", "abc"]));
});

void test("a folder's sync makes nothing durable in another one, and a file in a lost folder is lost", async () => {
  const disk = new SimulatedDisk({
    fault: ({ kind, path }) => (kind === "syncFolder" && path === "/" ? { kind: "lieSync" } : undefined),
  });
  await disk.makeFolder("/f");
  await write(disk, "/f/a", "");
  await disk.syncFolder("/f");
  const states = [];
  for (const after of disk.crashed(100, seededRandom(1)).disks) states.push((await after.stat("/f/a"))?.kind);
  assert.deepEqual(states, [undefined, "file"]);
});

void test("after a failed sync a later one reports success and makes only later writes durable", async () => {
  let failing = false;
  const disk = new SimulatedDisk({
    fault: ({ kind }) => (failing && kind === "fileSync" ? { kind: "loseSync" } : undefined),
  });
  await disk.makeFolder("/f");
  const file = await disk.open("/f/a", "create");
  await disk.syncFolder("/f");
  await file.write(0, Buffer.from("lost"));
  failing = true;
  await assert.rejects(file.sync(), refuses("EIO"));
  failing = false;
  await file.write(4, Buffer.from("kept"));
  await file.sync();
  assert.equal(text(await disk.read("/f/a")), "lostkept");
  for (const after of disk.crashed(100, seededRandom(1)).disks) {
    assert.equal(text(await after.read("/f/a")), "\0\0\0\0kept");
  }
});

void test("a full disk takes what fits and refuses the rest; overwriting needs no space; removing gives it back", async () => {
  const disk = new SimulatedDisk({ capacityBytes: 1000 });
  await disk.makeFolder("/f");
  await using file = await disk.open("/f/a", "create");
  await assert.rejects(file.write(0, new Uint8Array(1500)), refuses("ENOSPC"));
  assert.equal(await file.sizeBytes(), 1000);
  assert.equal(await disk.freeBytes("/f"), 0);
  await file.write(500, new Uint8Array(500));
  await assert.rejects(disk.open("/f/b", "create"), refuses("ENOSPC"));
  await disk.remove("/f/a");
  assert.equal(await disk.freeBytes("/f"), 0, "an open file keeps its space");
  await file.close();
  assert.equal(await disk.freeBytes("/f"), 1000);
});

void test("a killed process leaves what it wrote and never hears of it", async () => {
  const disk = new SimulatedDisk();
  await disk.makeFolder("/f");
  const file = await disk.open("/f/a", "create");
  await file.write(0, Buffer.from("seen"));
  let heard = false;
  void file.sync().then(() => (heard = true));
  disk.kill();
  void file.write(0, Buffer.from("dead")).then(() => (heard = true));
  await new Promise(setImmediate);
  assert.equal(heard, false);
  assert.equal(text(await disk.read("/f/a")), "seen");
});

void test("power cuts drawn at random are among the states that were enumerated; the same seed draws the same", async () => {
  const build = async () => {
    const disk = new SimulatedDisk();
    await disk.makeFolder("/f");
    await write(disk, "/f/a", "1");
    await write(disk, "/f/b", "2");
    await disk.rename("/f/b", "/f/a");
    return disk;
  };
  const all = new Set<string>();
  for (const after of (await build()).crashed(10_000, seededRandom(1)).disks) {
    all.add(JSON.stringify(await contentsOf(after, "/")));
  }
  const drawn = new Set<string>();
  for (let seed = 0; seed < 300; seed++) {
    const [disk, again] = [await build(), await build()];
    disk.cutPower(seededRandom(seed));
    again.cutPower(seededRandom(seed));
    const found = JSON.stringify(await contentsOf(disk, "/"));
    assert.equal(JSON.stringify(await contentsOf(again, "/")), found);
    assert.ok(all.has(found), found);
    drawn.add(found);
  }
  assert.equal(drawn.size, all.size);
});

void test("in immediate mode a power cut loses nothing and nothing is remembered for it", async () => {
  const disk = new SimulatedDisk({ durability: "immediate" });
  await disk.makeFolder("/f");
  for (let round = 0; round < 2_000; round++) {
    await write(disk, "/f/a", "x");
    await disk.remove("/f/a");
  }
  await write(disk, "/f/a", "kept");
  disk.cutPower(seededRandom(1));
  assert.equal(text(await disk.read("/f/a")), "kept");
});

async function contentsOf(disk: Disk, folder: string): Promise<unknown> {
  const found: unknown[] = [];
  for (const { name, kind } of await disk.list(folder)) {
    const path = `${folder}/${name}`;
    found.push([name, kind === "folder" ? await contentsOf(disk, path) : text(await disk.read(path))]);
  }
  return found;
}

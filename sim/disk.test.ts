import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DiskError, systemDisk } from "@muto/kit/disk";
import type { Disk } from "@muto/kit/disk";
import fc from "fast-check";
import { SimulatedDisk } from "./disk.ts";

/*
 * The simulated disk is worth as much as it resembles the real one: the same situations, the same answers.
 */

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

const situations: Readonly<Record<string, (disk: Disk, folder: string) => Promise<void>>> = {
  "what is missing reads as undefined, lists as empty, and may be removed": async (disk, folder) => {
    assert.equal(await disk.read(`${folder}/none`), undefined);
    assert.equal(await disk.stat(`${folder}/none`), undefined);
    assert.equal(await disk.readLink(`${folder}/none`), undefined);
    assert.deepEqual(await disk.list(`${folder}/none`), []);
    await disk.remove(`${folder}/none`);
    assert.equal(await disk.read(`${folder}/no/such/folder`), undefined);
  },
  "create wants a new name, update and read an old one": async (disk, folder) => {
    await write(disk, `${folder}/a`, "one");
    await assert.rejects(disk.open(`${folder}/a`, "create"), refuses("EEXIST"));
    await assert.rejects(disk.open(`${folder}/b`, "update"), refuses("ENOENT"));
    await assert.rejects(disk.open(`${folder}/b`, "read"), refuses("ENOENT"));
    await assert.rejects(disk.open(`${folder}/none/b`, "create"), refuses("ENOENT"));
    await assert.rejects(disk.open(`${folder}/a/b`, "create"), refuses("ENOTDIR"));
  },
  "bytes are written and read anywhere; a gap reads as zeros; the end cuts a read short": async (disk, folder) => {
    await using file = await disk.open(`${folder}/a`, "create");
    await file.write(0, Buffer.from("0123456789"));
    await file.write(3, Buffer.from("xy"));
    await file.write(12, Buffer.from("end"));
    assert.equal(text(await disk.read(`${folder}/a`)), "012xy56789\0\0end");
    assert.equal(text(await file.read(2, 3)), "2xy");
    assert.equal(text(await file.read(13, 100)), "nd");
    assert.equal((await file.read(100, 10)).byteLength, 0);
    assert.equal(await file.sizeBytes(), 15);
    await file.truncate(4);
    await file.truncate(6);
    assert.equal(text(await disk.read(`${folder}/a`)), "012x\0\0");
    await file.sync();
  },
  "what was read is a copy, and what is written is copied": async (disk, folder) => {
    const given = Buffer.from("aaaa");
    await using file = await disk.open(`${folder}/a`, "create");
    await file.write(0, given);
    given.fill("b");
    (await disk.read(`${folder}/a`))?.fill(0);
    (await file.read(0, 4)).fill(0);
    assert.equal(text(await disk.read(`${folder}/a`)), "aaaa");
  },
  "a file opened for reading cannot be written, a closed one not even read": async (disk, folder) => {
    await write(disk, `${folder}/a`, "one");
    const file = await disk.open(`${folder}/a`, "read");
    await assert.rejects(file.write(0, Buffer.from("x")), refuses("EBADF"));
    await file.close();
    await assert.rejects(file.read(0, 1), refuses("EBADF"));
    await file.close();
  },
  "folders are made with their parents, again without error, and listed by name with kinds": async (disk, folder) => {
    await disk.makeFolder(`${folder}/a/b/c`);
    await disk.makeFolder(`${folder}/a/b/c`);
    await write(disk, `${folder}/a/z`, "");
    await write(disk, `${folder}/a/B`, "");
    await disk.symlink("z", `${folder}/a/link`);
    assert.deepEqual(await disk.list(`${folder}/a`), [
      { name: "B", kind: "file" },
      { name: "b", kind: "folder" },
      { name: "link", kind: "symlink" },
      { name: "z", kind: "file" },
    ]);
    await assert.rejects(disk.makeFolder(`${folder}/a/z`), refuses("EEXIST"));
    await assert.rejects(disk.list(`${folder}/a/z`), refuses("ENOTDIR"));
    await assert.rejects(disk.read(`${folder}/a`), refuses("EISDIR"));
  },
  "a rename replaces a file at once and moves folders": async (disk, folder) => {
    await write(disk, `${folder}/a`, "one");
    await write(disk, `${folder}/b`, "two");
    await disk.rename(`${folder}/a`, `${folder}/b`);
    assert.equal(text(await disk.read(`${folder}/b`)), "one");
    assert.equal(await disk.stat(`${folder}/a`), undefined);
    await disk.makeFolder(`${folder}/d/e`);
    await disk.rename(`${folder}/d`, `${folder}/f`);
    assert.deepEqual(await disk.list(`${folder}/f`), [{ name: "e", kind: "folder" }]);
    await assert.rejects(disk.rename(`${folder}/none`, `${folder}/x`), refuses("ENOENT"));
    await assert.rejects(disk.rename(`${folder}/b`, `${folder}/f`), refuses("EISDIR"));
    await assert.rejects(disk.rename(`${folder}/f`, `${folder}/b`), refuses("ENOTDIR"));
    await assert.rejects(disk.rename(`${folder}/f`, `${folder}/f/inside`), refuses("EINVAL"));
    await disk.makeFolder(`${folder}/full/of`);
    await assert.rejects(disk.rename(`${folder}/f`, `${folder}/full`), refuses("ENOTEMPTY"));
    await assert.rejects(disk.rename(`${folder}/full/of`, `${folder}/full`), refuses("ENOTEMPTY"));
  },
  "an open file goes on through rename and removal": async (disk, folder) => {
    await write(disk, `${folder}/a`, "one");
    await using file = await disk.open(`${folder}/a`, "update");
    await disk.rename(`${folder}/a`, `${folder}/b`);
    await file.write(0, Buffer.from("two"));
    assert.equal(text(await disk.read(`${folder}/b`)), "two");
    await disk.remove(`${folder}/b`);
    assert.equal(text(await file.read(0, 3)), "two");
    await file.sync();
  },
  "hard links share one content; renaming one over the other does nothing": async (disk, folder) => {
    await write(disk, `${folder}/a`, "one");
    await disk.link(`${folder}/a`, `${folder}/b`);
    await disk.rename(`${folder}/a`, `${folder}/b`);
    assert.equal(text(await disk.read(`${folder}/a`)), "one");
    await disk.remove(`${folder}/a`);
    assert.equal(text(await disk.read(`${folder}/b`)), "one");
    await assert.rejects(disk.link(`${folder}/none`, `${folder}/c`), refuses("ENOENT"));
    await write(disk, `${folder}/c`, "x");
    await assert.rejects(disk.link(`${folder}/b`, `${folder}/c`), refuses("EEXIST"));
  },
  "symbolic links are followed by contents, not by stat, rename and remove": async (disk, folder) => {
    await disk.makeFolder(`${folder}/real`);
    await write(disk, `${folder}/real/a`, "one");
    await disk.symlink("real", `${folder}/relative`);
    await disk.symlink(`${folder}/real/a`, `${folder}/absolute`);
    await disk.symlink("../real/a", `${folder}/real/up`);
    await disk.symlink("nowhere", `${folder}/dangling`);
    await disk.symlink("loop", `${folder}/loop`);
    assert.equal(text(await disk.read(`${folder}/relative/a`)), "one");
    assert.equal(text(await disk.read(`${folder}/absolute`)), "one");
    assert.equal(text(await disk.read(`${folder}/relative/up`)), "one");
    assert.equal(await disk.read(`${folder}/dangling`), undefined);
    await assert.rejects(disk.read(`${folder}/loop`), refuses("ELOOP"));
    assert.equal((await disk.stat(`${folder}/relative`))?.kind, "symlink");
    assert.equal(await disk.readLink(`${folder}/relative`), "real");
    await assert.rejects(disk.readLink(`${folder}/real`), refuses("EINVAL"));
    await disk.remove(`${folder}/relative`);
    assert.equal(text(await disk.read(`${folder}/real/a`)), "one");
  },
  "a folder is removed with all that is in it": async (disk, folder) => {
    await disk.makeFolder(`${folder}/a/b`);
    await write(disk, `${folder}/a/b/c`, "one");
    await disk.symlink("/", `${folder}/a/root`);
    await disk.remove(`${folder}/a`);
    assert.deepEqual(await disk.list(folder), []);
  },
  "permissions are what was asked for": async (disk, folder) => {
    await (await disk.open(`${folder}/a`, "create", 0o600)).close();
    assert.equal((await disk.stat(`${folder}/a`))?.mode, 0o600);
    await disk.setPermissions(`${folder}/a`, 0o444);
    assert.equal((await disk.stat(`${folder}/a`))?.mode, 0o444);
    await (await disk.open(`${folder}/b`, "create")).close();
    assert.equal((await disk.stat(`${folder}/b`))?.mode, 0o600);
    assert.equal((await disk.stat(`${folder}/a`))?.sizeBytes, 0);
  },
  "folders are synced, missing ones not; free space is a number": async (disk, folder) => {
    await disk.syncFolder(folder);
    await assert.rejects(disk.syncFolder(`${folder}/none`), refuses("ENOENT"));
    assert.ok((await disk.freeBytes(folder)) > 0);
    await assert.rejects(disk.freeBytes(`${folder}/none`), refuses("ENOENT"));
  },
  "a relative path is a bug, not trouble": async (disk) => {
    await assert.rejects(disk.read("relative"), TypeError);
  },
};

async function onRealDisk(work: (disk: Disk, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-disk-"));
  try {
    await work(systemDisk(), folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function onSimulatedDisk(
  durability: "onSync" | "immediate",
  work: (disk: Disk, folder: string) => Promise<void>,
): Promise<void> {
  const disk = new SimulatedDisk({ durability });
  await disk.makeFolder("/a/folder");
  await work(disk, "/a/folder");
}

for (const [name, work] of Object.entries(situations)) {
  void test(`real disk: ${name}`, () => onRealDisk(work));
  void test(`simulated disk: ${name}`, () => onSimulatedDisk("onSync", work));
  void test(`simulated disk, immediate: ${name}`, () => onSimulatedDisk("immediate", work));
}

void test("any sequence of operations leaves the same files on both disks", async () => {
  const name = fc.constantFrom("a", "b", "c", "d/a", "d/b", "d");
  const operation = fc.oneof(
    fc.record({
      kind: fc.constant("write" as const),
      path: name,
      at: fc.nat({ max: 9 }),
      text: fc.string({ maxLength: 9 }),
    }),
    fc.record({ kind: fc.constantFrom("rename" as const, "link" as const), path: name, to: name }),
    fc.record({ kind: fc.constantFrom("remove" as const, "folder" as const), path: name }),
    fc.record({ kind: fc.constant("truncate" as const), path: name, at: fc.nat({ max: 20 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 20 }), async (operations) => {
      const traces: string[] = [];
      const run = async (disk: Disk, folder: string) => {
        const trace: string[] = [];
        for (const each of operations) trace.push(await outcomeOf(disk, folder, each));
        traces.push(JSON.stringify([trace, await contentsOf(disk, folder)]));
      };
      await onRealDisk(run);
      await onSimulatedDisk("onSync", run);
      await onSimulatedDisk("immediate", run);
      assert.equal(traces[1], traces[0]);
      assert.equal(traces[2], traces[0]);
    }),
    { numRuns: 60 },
  );
});

type Operation =
  | { kind: "write"; path: string; at: number; text: string }
  | { kind: "rename" | "link"; path: string; to: string }
  | { kind: "remove" | "folder"; path: string }
  | { kind: "truncate"; path: string; at: number };

async function outcomeOf(disk: Disk, folder: string, operation: Operation): Promise<string> {
  const path = `${folder}/${operation.path}`;
  try {
    switch (operation.kind) {
      case "write":
      case "truncate": {
        await using file = await disk.open(path, (await disk.stat(path)) === undefined ? "create" : "update");
        if (operation.kind === "write") await file.write(operation.at, Buffer.from(operation.text));
        else await file.truncate(operation.at);
        break;
      }
      case "rename":
        await disk.rename(path, `${folder}/${operation.to}`);
        break;
      case "link":
        await disk.link(path, `${folder}/${operation.to}`);
        break;
      case "remove":
        await disk.remove(path);
        break;
      case "folder":
        await disk.makeFolder(path);
        break;
    }
    return "done";
  } catch (error) {
    return error instanceof DiskError ? error.code : String(error);
  }
}

async function contentsOf(disk: Disk, folder: string): Promise<unknown> {
  const found: unknown[] = [];
  for (const { name, kind } of await disk.list(folder)) {
    const path = `${folder}/${name}`;
    found.push([name, kind === "folder" ? await contentsOf(disk, path) : text(await disk.read(path))]);
  }
  return found;
}

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DiskError, systemDisk } from "./disk.ts";
import { removeLeftovers, writeDurably } from "./durable-file.ts";
import { openJournal } from "./journal.ts";

const disk = systemDisk();
const limits = { capacityBytes: 4096, reserveBytes: 512, recordBytesMax: 1024 };

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-kit-"));
  try {
    await work(folder);
  } finally {
    await chmod(folder, 0o700);
    await rm(folder, { recursive: true });
  }
}

void test("what the system refuses has its code, the operation and the path", async () => {
  await inFolder(async (folder) => {
    const error: unknown = await disk.open(join(folder, "none"), "read").catch((refused: unknown) => refused);
    assert.ok(error instanceof DiskError);
    assert.deepEqual([error.code, error.operation, error.path], ["ENOENT", "open", join(folder, "none")]);
    assert.ok(error.cause instanceof Error);
  });
});

void test("a real full disk is ENOSPC", async () => {
  const file = await disk.open("/dev/full", "update");
  await assert.rejects(
    file.write(0, Buffer.from("x")),
    (error) => error instanceof DiskError && error.code === "ENOSPC",
  );
  await file.close();
});

void test("large reads and writes are whole", async () => {
  await inFolder(async (folder) => {
    const bytes = Buffer.alloc(5_000_000, "muto");
    await using file = await disk.open(join(folder, "large"), "create");
    await file.write(0, bytes);
    await file.sync();
    assert.ok(bytes.equals(await file.read(0, bytes.byteLength + 10)));
  });
});

void test("free bytes are what the system gives to everybody, not to root alone", async () => {
  await inFolder(async (folder) => {
    const free = await disk.freeBytes(folder);
    assert.ok(Number.isSafeInteger(free) && free > 1_000_000);
  });
});

void test("a durable file is replaced whole, has the permissions asked for, and leaves nothing beside it", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "key");
    await writeDurably(disk, path, Buffer.from("old"), { permissions: 0o600 });
    await writeDurably(disk, path, Buffer.from("new"), { permissions: 0o600 });
    assert.equal(Buffer.from((await disk.read(path)) ?? []).toString(), "new");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(
      (await disk.list(folder)).map(({ name }) => name),
      ["key"],
    );
    assert.equal(await removeLeftovers(disk, folder), 0);
    assert.equal(await removeLeftovers(disk, join(folder, "none")), 0);
  });
});

void test("a durable write that fails leaves the old content and nothing beside it", async () => {
  await inFolder(async (folder) => {
    await disk.makeFolder(join(folder, "taken", "full"));
    await assert.rejects(writeDurably(disk, join(folder, "taken"), Buffer.from("x")), DiskError);
    assert.deepEqual(
      (await disk.list(folder)).map(({ name }) => name),
      ["taken"],
    );
  });
});

void test("the journal lives on a real disk: append, reopen, compact, reopen", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "journal");
    const first = await openJournal({ disk, path, limits });
    assert.equal(first.found.kind, "created");
    await Promise.all(["one", "two", "three"].map((record) => first.journal.append(Buffer.from(record))));
    await first.journal.close();
    await assert.rejects(first.journal.append(Buffer.from("late")), { code: "closed" });
    assert.ok((await stat(path)).blocks * 512 >= 4096, "preallocated, not sparse");

    const second = await openJournal({ disk, path, limits });
    assert.equal(second.found.kind, "intact");
    assert.deepEqual(
      second.records.map((record) => Buffer.from(record).toString()),
      ["one", "two", "three"],
    );
    for (let round = 0; round < 5; round++) await second.journal.compact([Buffer.from(`snapshot ${round}`)]);
    await second.journal.append(Buffer.from("four"));
    await assert.rejects(second.journal.append(new Uint8Array(1025)), { code: "tooLarge" });
    await second.journal.close();

    const third = await openJournal({ disk, path, limits });
    assert.deepEqual(
      third.records.map((record) => Buffer.from(record).toString()),
      ["snapshot 4", "four"],
    );
    await third.journal.close();
    assert.deepEqual(
      (await disk.list(folder)).map(({ name }) => name),
      ["journal", "journal.spare"],
    );
  });
});

void test("a file that is no journal is damage, kept aside, and not overwritten in place", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "journal");
    await writeDurably(disk, path, Buffer.from("something else altogether"));
    const { journal, found, records } = await openJournal({ disk, path, limits });
    assert.deepEqual([found, records], [{ kind: "damaged", atByte: 0, salvaged: [] }, []]);
    await assert.rejects(journal.append(Buffer.from("x")), { code: "damaged" });
    await journal.compact([]);
    await journal.append(Buffer.from("x"));
    await journal.close();
    assert.equal(Buffer.from((await disk.read(`${path}.damaged`)) ?? []).toString(), "something else altogether");
  });
});

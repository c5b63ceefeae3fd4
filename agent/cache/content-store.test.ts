import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DiskError, systemDisk } from "@muto/kit/disk";
import { readBody } from "@muto/kit/http";
import { ContentError, digestHex, digestOf } from "@muto/oci/digest";
import { missingOf, openContentStore } from "./content-store.ts";
import type { ContentStore } from "./content-store.ts";

const disk = systemDisk();
const bytes = Buffer.alloc(100_000, "muto");
const content = { digest: digestOf(bytes), sizeBytes: bytes.byteLength };

async function inStore(
  work: (store: ContentStore, folder: string, reopen: () => Promise<ContentStore>) => Promise<void>,
): Promise<void> {
  const state = await mkdtemp(join(tmpdir(), "muto-content-"));
  const folder = join(state, "content", "sha256");
  const reopen = () => openContentStore(disk, folder, { syncEveryBytes: 1000 });
  try {
    await work(await reopen(), folder, reopen);
  } finally {
    await rm(state, { recursive: true });
  }
}

async function* stream(...chunks: Uint8Array[]) {
  for (const chunk of chunks) yield chunk;
}

async function feed(store: ContentStore, upTo: number): Promise<number> {
  await using download = await store.begin(content);
  const from = download.offsetBytes;
  assert.equal(download.resume.sizeBytes(), from);
  await download.write(bytes.subarray(from, upTo));
  return from;
}

void test("a blob is there after it was taken in, under its digest, readable, listed, and not before", async () => {
  await inStore(async (store, folder) => {
    assert.equal(await store.has(content.digest), false);
    assert.equal(await store.verify(content.digest), "missing");
    assert.deepEqual(await store.ingest(content, stream(bytes.subarray(0, 7), bytes.subarray(7))), { ok: true });
    assert.equal(await store.has(content.digest), true);
    assert.equal(await store.sizeBytes(content.digest), bytes.byteLength);
    assert.ok(bytes.equals(await readBody(store.openRead(content.digest), 1_000_000)));
    assert.equal(await store.verify(content.digest), "intact");
    assert.deepEqual(await store.list(), [{ ...content, complete: true }]);
    assert.deepEqual(
      (await disk.list(folder)).map(({ name }) => name),
      [digestHex(content.digest)],
    );
    await store.remove(content.digest);
    await store.remove(content.digest);
    assert.equal(await store.has(content.digest), false);
    await assert.rejects(readBody(store.openRead(content.digest), 10), DiskError);
  });
});

void test("the empty blob is a blob", async () => {
  await inStore(async (store) => {
    const empty = { digest: digestOf(new Uint8Array(0)), sizeBytes: 0 };
    assert.deepEqual(await store.ingest(empty, stream()), { ok: true });
    assert.equal(await store.verify(empty.digest), "intact");
  });
});

void test("a broken download goes on where it stopped; the same process loses no byte", async () => {
  await inStore(async (store) => {
    assert.equal(await feed(store, 12_345), 0);
    assert.deepEqual(await store.list(), [{ digest: content.digest, sizeBytes: 12_345, complete: false }]);
    assert.equal(await store.has(content.digest), false);
    await using download = await store.begin(content);
    assert.equal(download.offsetBytes, 12_345);
    assert.equal(download.resume.digest(), digestOf(bytes.subarray(0, 12_345)));
    assert.deepEqual(await download.finish(), { ok: false, problem: "truncated" });
    await download.write(bytes.subarray(12_345));
    assert.deepEqual(await download.finish(), { ok: true });
    assert.equal(await store.verify(content.digest), "intact");
  });
});

void test("another process trusts only what had been synced", async () => {
  await inStore(async (store, _, reopen) => {
    await feed(store, 12_345);
    assert.equal(await feed(await reopen(), 13_000), 12_000);
    // Exactly at a multiple nothing says that its sync was done.
    assert.equal(await feed(await reopen(), 13_500), 12_000);
  });
});

void test("wrong bytes are removed and reported, short ones kept, endless ones cut at the first byte too many", async () => {
  await inStore(async (store) => {
    const wrong = Buffer.from(bytes);
    wrong[50_000] = 0;
    assert.deepEqual(await store.ingest(content, stream(wrong)), { ok: false, problem: "digest-mismatch" });
    assert.deepEqual(await store.list(), []);
    assert.deepEqual(await store.ingest(content, stream(bytes.subarray(0, 10))), { ok: false, problem: "truncated" });
    assert.equal((await store.list()).length, 1);
    let taken = 0;
    async function* endless() {
      for (;;) {
        taken += 40_000;
        yield Buffer.alloc(40_000);
      }
    }
    assert.deepEqual(await store.ingest(content, endless()), { ok: false, problem: "too-large" });
    assert.equal(taken, 120_000);
    assert.deepEqual(await store.list(), []);
    await using download = await store.begin(content);
    await download.write(bytes);
    await assert.rejects(download.write(Buffer.from("x")), ContentError);
  });
});

void test("a partial file that is longer than the blob, or holds other bytes, does no harm", async () => {
  await inStore(async (store, folder) => {
    const part = join(folder, `${digestHex(content.digest)}.part`);
    await writeFile(part, Buffer.alloc(200_000));
    {
      await using download = await store.begin(content);
      assert.equal(download.offsetBytes, 0);
    }
    await store.remove(content.digest);
    await writeFile(part, Buffer.alloc(5_500));
    {
      await using download = await store.begin(content);
      assert.equal(download.offsetBytes, 5_000);
      await download.write(bytes.subarray(5_000));
      assert.deepEqual(await download.finish(), { ok: false, problem: "digest-mismatch" });
    }
    assert.equal(await feed(store, 10), 0, "the next try begins anew");
  });
});

void test("a source that breaks passes its error through and keeps what came", async () => {
  await inStore(async (store) => {
    async function* broken() {
      yield bytes.subarray(0, 3000);
      throw new TypeError("the network went away");
    }
    await assert.rejects(store.ingest(content, broken()), TypeError);
    await using download = await store.begin(content);
    assert.equal(download.offsetBytes, 3000);
  });
});

void test("two downloads of one blob at a time are a bug; one after the other is not", async () => {
  await inStore(async (store) => {
    await using first = await store.begin(content);
    await assert.rejects(store.begin(content), /once at a time/);
    await first[Symbol.asyncDispose]();
    await using second = await store.begin(content);
    assert.equal(second.offsetBytes, 0);
  });
});

void test("H9: a blob that somebody changed or removed is noticed, and a changed one is thrown away", async () => {
  await inStore(async (store, folder) => {
    await store.ingest(content, stream(bytes));
    const path = join(folder, digestHex(content.digest));
    {
      await using file = await disk.open(path, "update");
      await file.write(77, Buffer.from("!"));
    }
    assert.equal(await store.has(content.digest), true, "the name alone says nothing");
    assert.equal(await store.verify(content.digest), "damaged");
    assert.equal(await store.verify(content.digest), "missing");
  });
});

void test("foreign files in the folder are not blobs and are left alone", async () => {
  await inStore(async (store, folder) => {
    await writeFile(join(folder, "README"), "hello");
    assert.deepEqual(await store.list(), []);
    assert.deepEqual((await disk.list(folder)).length, 1);
  });
});

void test("a digest that is none never becomes a path", async () => {
  await inStore(async (store) => {
    await assert.rejects(store.has("sha256:../../etc/passwd"));
    await assert.rejects(store.remove("../.."));
  });
});

void test("what is missing is counted once, less what was fetched already", async () => {
  await inStore(async (store) => {
    const there = Buffer.from("there");
    const stored = { digest: digestOf(there), sizeBytes: there.byteLength };
    await store.ingest(stored, stream(there));
    await feed(store, 40_000);
    const other = { digest: digestOf(Buffer.from("other")), sizeBytes: 5 };
    assert.deepEqual(await missingOf(store, [stored, content, other, other]), {
      blobs: [content, other],
      bytes: 60_005,
    });
  });
});

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { generateKey, parsePrivateKey } from "@muto/trust/keys";
import { loadOrCreateKey } from "./key-store.ts";

const disk = systemDisk();

async function inFolder(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-key-"));
  try {
    await work(join(folder, "identity", "vehicle.pem"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const generate = async () => (await generateKey("ed25519")).privatePem;

void test("the key is made once, readable by its owner alone, and the same ever after", async () => {
  await inFolder(async (path) => {
    const first = await loadOrCreateKey({ disk, path, generate });
    assert.deepEqual([first.created, first.wasExposed], [true, false]);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const second = await loadOrCreateKey({ disk, path, generate });
    assert.deepEqual(second, { ...first, created: false });
    assert.ok(parsePrivateKey(second.privatePem).ok);
  });
});

void test("a key that others could read is closed to them and said to have been open", async () => {
  await inFolder(async (path) => {
    await loadOrCreateKey({ disk, path, generate });
    await chmod(path, 0o644);
    assert.equal((await loadOrCreateKey({ disk, path, generate })).wasExposed, true);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await loadOrCreateKey({ disk, path, generate })).wasExposed, false);
  });
});

void test("without a key that could be made, no file is left", async () => {
  await inFolder(async (path) => {
    await assert.rejects(loadOrCreateKey({ disk, path, generate: () => Promise.reject(new Error("no entropy")) }));
    assert.equal(await disk.read(path), undefined);
  });
});

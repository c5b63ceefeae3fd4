import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DiskError, systemDisk, type Disk } from "@muto/kit/disk";
import { silentLogger } from "@muto/kit/logger";
import { digestOf } from "@muto/oci/digest";
import { ModelClock } from "../model/clock.ts";
import { ModelRuntime } from "../model/runtime.ts";
import { modelRelease } from "../model/release.ts";
import { createTailKeeper } from "./tails.ts";

const release = modelRelease({ version: "1.0.0" });
const limits = { tailBytesMax: 100, tailsMax: 3 };

/** Each workload that runs has said something of its own. */
class Talking extends ModelRuntime {
  said = new Map<string, string>();
  override async collect(instanceId = "", bytesMax = 0): Promise<Uint8Array> {
    return new TextEncoder().encode(this.said.get(instanceId) ?? "").subarray(-bytesMax);
  }
}

async function running(words: readonly string[]): Promise<Talking> {
  const runtime = new Talking({ clock: new ModelClock(0), bootId: () => "boot", call: () => {} });
  runtime.behaviours.set(release.manifestDigest, release.behaviour);
  const set = { manifestDigest: release.manifestDigest, folder: "/set", manifest: release.manifest };
  await runtime.prepare(set);
  for (const [index, workload] of release.manifest.workloads.entries()) {
    await runtime.start(set, workload, `i${index}`);
    runtime.said.set(`i${index}`, words[index] ?? "");
  }
  return runtime;
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "muto-tails-"));
  try {
    await use(join(folder, "tails"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

void test("what failing workloads last said is kept by digest, and handed out once, oldest first", () =>
  inFolder(async (folder) => {
    const runtime = await running(["segmentation fault", ""]);
    const ports = { disk: systemDisk(), runtime, logger: silentLogger };
    const tails = createTailKeeper(ports, folder, limits);
    const evidence = await tails.keep(release.manifestDigest, "CRASH_LOOP_DETECTED");
    const digest = digestOf(new TextEncoder().encode("segmentation fault"));
    const reasonCode = "CRASH_LOOP_DETECTED";
    assert.deepEqual(evidence, [{ kind: "output-tail", reasonCode, workload: "control", digest, bytes: 18 }]);
    const after = createTailKeeper(ports, folder, limits);
    assert.equal((await after.oldest())?.digest, digest);
    await after.forget(digest);
    assert.equal(await after.oldest(), undefined);
    assert.deepEqual(await readdir(folder), []);
  }));

void test("only so many are kept, each only so long, and a damaged one is not handed out", () =>
  inFolder(async (folder) => {
    const disk = systemDisk();
    for (let round = 0; round < 4; round++) {
      const runtime = await running([`${round}${"x".repeat(300)}${round}`, `lidar ${round}`]);
      const tails = createTailKeeper({ disk, runtime, logger: silentLogger }, folder, limits);
      for (const item of await tails.keep(release.manifestDigest, "APPLY_FAILED")) {
        assert.ok(item.kind === "output-tail" && item.bytes <= limits.tailBytesMax);
      }
    }
    const names = await readdir(folder);
    assert.equal(names.length, limits.tailsMax);
    const runtime = await running([]);
    const tails = createTailKeeper({ disk, runtime, logger: silentLogger }, folder, limits);
    for (const name of names) {
      await using file = await disk.open(join(folder, name), "update");
      await file.write(0, new Uint8Array([0]));
    }
    assert.equal(await tails.oldest(), undefined);
  }));

void test("H8: a full disk keeps no tails and delays nothing", () =>
  inFolder(async (folder) => {
    const runtime = await running(["last words", ""]);
    const real = systemDisk();
    const full: Disk = {
      ...real,
      open: async (path) => {
        throw new DiskError("ENOSPC", "open", path);
      },
    };
    const tails = createTailKeeper({ disk: full, runtime, logger: silentLogger }, folder, limits);
    assert.deepEqual(await tails.keep(release.manifestDigest, "APPLY_FAILED"), []);
  }));

void test("output that cannot be read, of a workload or on the disk, holds nothing up and keeps no other tail here (H8)", () =>
  inFolder(async (folder) => {
    const runtime = await running(["first words", "second words"]);
    const collect = runtime.collect.bind(runtime);
    runtime.collect = async (instanceId, bytesMax) => {
      if (instanceId === "i0") throw new DiskError("EIO", "read", "/output");
      return collect(instanceId, bytesMax);
    };
    const disk = systemDisk();
    const tails = createTailKeeper({ disk, runtime, logger: silentLogger }, folder, limits);
    const kept = await tails.keep(release.manifestDigest, "CRASH_LOOP_DETECTED");
    assert.deepEqual(
      kept.map((item) => item.kind === "output-tail" && item.workload),
      ["lidar"],
    );
    runtime.collect = collect;
    await tails.keep(release.manifestDigest, "CRASH_LOOP_DETECTED");
    const bad = digestOf(new TextEncoder().encode("first words"));
    const badPath = join(folder, bad.slice("sha256:".length));
    const read: Disk["read"] = async (path) => {
      if (path === badPath) throw new DiskError("EIO", "read", path);
      return disk.read(path);
    };
    const reading: Disk = { ...disk, read };
    const after = createTailKeeper({ disk: reading, runtime, logger: silentLogger }, folder, limits);
    assert.equal((await after.oldest())?.digest, digestOf(new TextEncoder().encode("second words")));
  }));

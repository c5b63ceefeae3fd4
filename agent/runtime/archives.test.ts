import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DiskError, systemDisk, type Disk } from "@muto/kit/disk";
import { readBody } from "@muto/kit/http";
import { ContentError, digestOf } from "@muto/oci/digest";
import { packFolder } from "@muto/oci/pack";
import type { BlobReader, SetOnDisk } from "../ports.ts";
import { archiveFolder, unpackedArchives } from "./archives.ts";
import { manifestOf, workloadOf } from "./test-bench.ts";

const disk = systemDisk();
const never = new AbortController().signal;

const GARBAGE = Buffer.from("this is no archive");

describe("the archives of a set", () => {
  let root: string;
  let archive: string;
  let sets = 0;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), "muto-archives-"));
    mkdirSync(join(root, "source/bin"), { recursive: true });
    writeFileSync(join(root, "source/bin/nav"), "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(join(root, "source/params.yaml"), "speed: 1\n");
    archive = digestOf(await readBody(packFolder(disk, join(root, "source")), 1_000_000));
  });
  after(() => rmSync(root, { recursive: true }));

  const blobs: BlobReader = () => packFolder(disk, join(root, "source"));
  const newSet = (): SetOnDisk => ({
    manifestDigest: `sha256:${"b".repeat(64)}`,
    folder: join(root, `set-${++sets}`),
    manifest: manifestOf(["nav", "dock"].map((name) => ({ ...workloadOf(name), archive }))),
  });
  async function prepared(): Promise<SetOnDisk> {
    const set = newSet();
    assert.deepEqual(await unpackedArchives(disk).prepare(set, blobs, never), { ok: true });
    return set;
  }

  test("are unpacked once, and proved whole", async () => {
    const set = newSet();
    let reads = 0;
    const counting: BlobReader = (digest) => {
      assert.equal(digest, archive);
      reads++;
      return blobs(digest);
    };
    const archives = unpackedArchives(disk);
    assert.equal(await archives.verify(set), false, "nothing is there yet");
    assert.deepEqual(await archives.prepare(set, counting, never), { ok: true });
    assert.equal(await archives.verify(set), true);
    assert.deepEqual(readdirSync(archiveFolder(set, archive)).toSorted(), ["bin", "params.yaml"]);
    assert.deepEqual(await archives.prepare(set, counting, never), { ok: true });
    assert.equal(reads, 1, "two workloads and two preparations need one unpacking");
  });

  const damages: readonly (readonly [string, (folder: string) => void])[] = [
    ["a byte", (folder) => appendFileSync(join(folder, "params.yaml"), "x")],
    ["a mode", (folder) => chmodSync(join(folder, "bin/nav"), 0o777)],
    ["a file that is missing", (folder) => rmSync(join(folder, "params.yaml"))],
    ["a file that was added", (folder) => writeFileSync(join(folder, "bin/extra"), "")],
    ["the list of files", (folder) => writeFileSync(`${folder}.tree.json`, "[")],
    ["a folder that is missing", (folder) => rmSync(folder, { recursive: true })],
  ];
  for (const [name, damage] of damages) {
    test(`are found damaged by ${name}, and made whole again by preparing`, async () => {
      const set = await prepared();
      const archives = unpackedArchives(disk);
      damage(archiveFolder(set, archive));
      assert.equal(await archives.verify(set), false);
      assert.deepEqual(await archives.prepare(set, blobs, never), { ok: true });
      assert.equal(await archives.verify(set), true);
    });
  }

  test("H3: what is replaced under a stack that runs keeps its files until nothing of the set runs", async () => {
    const set = await prepared();
    const archives = unpackedArchives(disk);
    const folder = archiveFolder(set, archive);
    const runsFrom = openSync(folder, "r");
    const lazily = (name: string) => readFileSync(`/proc/self/fd/${runsFrom}/${name}`, "utf8");
    appendFileSync(join(folder, "bin/nav"), "x");
    assert.deepEqual(await archives.prepare(set, blobs, never), { ok: true });
    assert.equal(lazily("params.yaml"), "speed: 1\n", "what runs opens its files as before");
    assert.equal(readFileSync(join(folder, "bin/nav"), "utf8"), "#!/bin/sh\n", "what is started gets the signed ones");
    appendFileSync(join(folder, "bin/nav"), "y");
    assert.deepEqual(await archives.prepare(set, blobs, never), { ok: true });
    assert.equal(readdirSync(set.folder).filter((name) => name.includes("aside")).length, 2);
    await archives.dropAsides(set, async () => true);
    assert.equal(lazily("params.yaml"), "speed: 1\n");
    await archives.dropAsides(set, async () => false);
    assert.equal(readdirSync(set.folder).filter((name) => name.includes("aside")).length, 0);
    assert.equal(await archives.verify(set), true);
    closeSync(runsFrom);
  });

  test("H14: a blob that went bad on this disk is told from a release that is malformed; neither leaves anything", async () => {
    const set = newSet();
    const archives = unpackedArchives(disk);
    async function* garbage(): AsyncGenerator<Uint8Array> {
      yield GARBAGE;
    }
    async function* damaged(): AsyncGenerator<Uint8Array> {
      yield* packFolder(disk, join(root, "source"));
      throw new ContentError("digest-mismatch");
    }
    async function* shifted(): AsyncGenerator<Uint8Array> {
      for await (const chunk of packFolder(disk, join(root, "source"))) yield chunk.map((byte) => byte ^ 1);
    }
    for (const blob of [garbage, damaged, shifted]) {
      const outcome = await archives.prepare(set, blob, never);
      assert.deepEqual(outcome, { ok: false, problem: "storage", code: "BLOB_DAMAGED" });
    }
    const malformed = { ...set, manifest: manifestOf([{ ...workloadOf("nav"), archive: digestOf(GARBAGE) }]) };
    const outcome = await archives.prepare(malformed, garbage, never);
    assert.deepEqual(outcome, { ok: false, problem: "malformed-archive", code: "malformed" });
    assert.equal(await archives.verify(set), false);
    assert.deepEqual(readdirSync(set.folder), []);
  });

  test("say when the disk is full or fails, and can be prepared later", async () => {
    for (const [code, problem] of [
      ["ENOSPC", "no-space"],
      ["EDQUOT", "no-space"],
      ["EIO", "storage"],
    ] as const) {
      const set = newSet();
      const failing: Disk = {
        ...disk,
        rename: async (from, to) => {
          if (to.endsWith(".tree.json")) throw new DiskError(code, "rename", to);
          await disk.rename(from, to);
        },
      };
      const outcome = await unpackedArchives(failing).prepare(set, blobs, never);
      assert.deepEqual(outcome, { ok: false, problem, code });
      assert.equal(await unpackedArchives(disk).verify(set), false, "a tree without its list does not count");
      assert.deepEqual(await unpackedArchives(disk).prepare(set, blobs, never), { ok: true });
    }
  });

  test("stop being unpacked when that is called off", async () => {
    const set = newSet();
    const over = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield* packFolder(disk, join(root, "source"));
      over.abort();
      for (;;) yield Buffer.alloc(1);
    }
    await assert.rejects(unpackedArchives(disk).prepare(set, endless, over.signal), { name: "AbortError" });
    assert.equal(await unpackedArchives(disk).verify(set), false);
  });
});

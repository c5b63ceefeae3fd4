import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { digestOf } from "@muto/oci/digest";
import { EMPTY_STATE } from "../reconcile/state.ts";
import type { AgentState, SetRef } from "../reconcile/state.ts";
import { openContentStore } from "./content-store.ts";
import type { ContentStore } from "./content-store.ts";
import { cleanSets, protectedSets, setFolder } from "./sets.ts";
import type { CleanOptions } from "./sets.ts";

const disk = systemDisk();

const blobDigest = (name: string) => digestOf(Buffer.from(name));
/** Each set is its manifest and its blobs; `shared` is in all of them. */
const contents = new Map([
  [blobDigest("active"), ["active", "shared", "only-active"].map(blobDigest)],
  [blobDigest("previous"), ["previous", "shared", "only-previous"].map(blobDigest)],
  [blobDigest("staged"), ["staged", "shared", "only-staged"].map(blobDigest)],
  [blobDigest("failed"), ["failed", "shared", "only-failed"].map(blobDigest)],
]);
const names = [
  "active",
  "previous",
  "staged",
  "failed",
  "shared",
  "only-active",
  "only-previous",
  "only-staged",
  "only-failed",
];

async function withSets(
  work: (options: Omit<CleanOptions, "keep" | "protect">, left: () => Promise<string[]>) => Promise<void>,
) {
  const state = await mkdtemp(join(tmpdir(), "muto-sets-"));
  try {
    const content = await openContentStore(disk, join(state, "content", "sha256"));
    const setsFolder = join(state, "sets");
    for (const name of names) await put(content, name);
    for (const manifestDigest of contents.keys()) {
      await disk.makeFolder(join(setFolder(setsFolder, manifestDigest), "archive"));
    }
    const left = async () => {
      const blobs = (await content.list()).map(
        ({ digest }) => names.find((name) => blobDigest(name) === digest) ?? "?",
      );
      const folders = (await disk.list(setsFolder)).map(
        ({ name: hex }) => `${names.find((name) => blobDigest(name) === `sha256:${hex}`) ?? hex}/`,
      );
      return [...blobs, ...folders].toSorted();
    };
    await work({ disk, content, setsFolder, blobsOf: async (digest) => contents.get(digest) }, left);
  } finally {
    await rm(state, { recursive: true });
  }
}

async function put(content: ContentStore, name: string): Promise<void> {
  async function* bytes() {
    yield Buffer.from(name);
  }
  await content.ingest({ digest: blobDigest(name), sizeBytes: name.length }, bytes());
}

const keep = (...sets: string[]) => sets.map(blobDigest);
const protect = new Set(keep("active", "previous"));

void test("what no set needs goes; shared blobs and all that the kept sets need stay", async () => {
  await withSets(async (options, left) => {
    const cleaned = await cleanSets({ ...options, keep: keep("active", "previous", "staged"), protect });
    assert.deepEqual(cleaned, {
      setsRemoved: 1,
      blobsRemoved: 2,
      bytesFreed: "failed".length + "only-failed".length,
      unknown: undefined,
    });
    assert.deepEqual(await left(), [
      "active",
      "active/",
      "only-active",
      "only-previous",
      "only-staged",
      "previous",
      "previous/",
      "shared",
      "staged",
      "staged/",
    ]);
    const again = await cleanSets({ ...options, keep: keep("active", "previous", "staged"), protect });
    assert.deepEqual(again, { setsRemoved: 0, blobsRemoved: 0, bytesFreed: 0, unknown: undefined });
  });
});

void test("H7: a cleaning that would not keep a protected set is a bug, and removes nothing", async () => {
  await withSets(async (options, left) => {
    const before = await left();
    await assert.rejects(cleanSets({ ...options, keep: keep("active", "staged"), protect }), /protected set/);
    assert.deepEqual(await left(), before);
  });
});

void test("H7: should the contents of a set change while it cleans, nothing of a protected set goes unnoticed", async () => {
  await withSets(async (options) => {
    let asked = 0;
    const forgetful: CleanOptions["blobsOf"] = async (digest) => {
      asked += 1;
      // Just when it decides what to keep, the active set's list comes back empty.
      return asked === 3 ? [] : contents.get(digest);
    };
    await assert.rejects(
      cleanSets({ ...options, blobsOf: forgetful, keep: keep("active", "previous"), protect }),
      /protected set/,
    );
    for (const digest of contents.get(blobDigest("active")) ?? []) assert.ok(await options.content.has(digest));
  });
});

void test("H9: as long as the contents of a kept set are unknown, no blob is removed; foreign folders are", async () => {
  await withSets(async (options, left) => {
    const unknown: CleanOptions["blobsOf"] = async (digest) =>
      digest === blobDigest("previous") ? undefined : contents.get(digest);
    const cleaned = await cleanSets({ ...options, blobsOf: unknown, keep: keep("active", "previous"), protect });
    assert.deepEqual(cleaned, { setsRemoved: 2, blobsRemoved: 0, bytesFreed: 0, unknown: blobDigest("previous") });
    assert.deepEqual((await left()).length, names.length + 2);
  });
});

void test("half-made folders and partial downloads of no kept set go as well", async () => {
  await withSets(async (options, left) => {
    await disk.makeFolder(join(options.setsFolder, "half-made.tmp"));
    const partial = { digest: blobDigest("partial"), sizeBytes: 100 };
    {
      await using download = await options.content.begin(partial);
      await download.write(Buffer.from("part"));
    }
    await cleanSets({ ...options, keep: keep("active", "previous", "staged", "failed"), protect });
    assert.deepEqual(await left(), [...names, "active/", "failed/", "previous/", "staged/"].toSorted());
  });
});

const set = (name: string): SetRef => ({
  manifestDigest: blobDigest(name),
  stackName: name,
  version: "1",
  desiredStateRevision: "dsr_01ARYZ6S410000000000000000",
  sequence: 1,
  repository: name,
});
const at = { bootId: "b", monotonicMs: 0, wallMs: 0 };

const protections: readonly (readonly [string, Partial<AgentState>, readonly string[]])[] = [
  ["nothing yet", {}, []],
  ["committed", { active: set("active") }, ["active"]],
  [
    "committed twice, and another staged",
    { active: set("active"), previous: set("previous"), staged: set("staged") },
    ["active", "previous"],
  ],
  [
    "on trial",
    {
      active: set("active"),
      previous: set("previous"),
      staged: set("staged"),
      trial: {
        changeId: "c",
        set: set("staged"),
        from: set("active"),
        phase: "probing",
        attempt: 1,
        begun: at,
        since: at,
        reboots: 0,
        poweredMs: 0,
        before: [],
        timings: {},
      },
    },
    ["active", "previous", "staged"],
  ],
  [
    "rolling back",
    {
      active: set("active"),
      rollback: {
        changeId: "c",
        from: set("failed"),
        to: set("active"),
        phase: "pending",
        wasReady: true,
        cause: { reasonCodes: [], evidence: [] },
        attempt: 1,
        desiredStateRevision: "dsr_01ARYZ6S410000000000000000",
        sequence: 1,
        begun: at,
        since: at,
        before: [],
      },
    },
    ["active", "failed"],
  ],
];

for (const [name, state, expected] of protections) {
  void test(`protected: ${name}`, () => {
    assert.deepEqual(protectedSets({ ...EMPTY_STATE, ...state }), new Set(keep(...expected)));
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { openContentStore } from "@muto/agent/cache/content-store";
import type { ContentStore } from "@muto/agent/cache/content-store";
import { DiskError } from "@muto/kit/disk";
import { seededRandom } from "@muto/kit/random";
import { digestOf } from "@muto/oci/digest";
import { crashEverywhere, failEverywhere } from "../crash-points.ts";
import type { CrashScenario } from "../crash-points.ts";
import type { SimulatedDisk } from "../disk.ts";

const folder = "/state/content/sha256";
const syncEveryBytes = 600;
/** Every sector differs, so that a missing one shows. */
const blob = (seed: number, length: number) => {
  const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * seed + (index >> 8)) % 251));
  return { bytes, digest: digestOf(bytes), sizeBytes: length };
};
const one = blob(7, 1700);
const other = blob(11, 300);

const open = (disk: SimulatedDisk) => openContentStore(disk, folder, { syncEveryBytes });

async function fetchInPieces(store: ContentStore, { bytes, digest, sizeBytes }: typeof one): Promise<void> {
  await using download = await store.begin({ digest, sizeBytes });
  for (let at = download.offsetBytes; at < sizeBytes; at += 500) await download.write(bytes.subarray(at, at + 500));
  assert.deepEqual(await download.finish(), { ok: true });
}

async function fetchBoth(store: ContentStore, told: Set<string>): Promise<void> {
  for (const each of [one, other]) {
    await fetchInPieces(store, each);
    told.add(each.digest);
  }
}

const scenario: CrashScenario<Set<string>> = {
  run: async (disk, told) => fetchBoth(await open(disk), told),
  nothingTold: () => new Set(),
  check: async (disk, told, cause) => {
    const store = await open(disk);
    for (const { digest, complete } of await store.list()) {
      if (complete) assert.equal(await store.verify(digest), "intact", `${cause}: what is there is whole`);
    }
    const found = await store.list();
    for (const later of disk.crashed(20, seededRandom(1)).disks) {
      const complete = (await (await open(later)).list()).filter((each) => each.complete);
      assert.deepEqual(
        complete,
        found.filter((each) => each.complete),
        `${cause}: what was found there stays there`,
      );
    }
    for (const digest of told) assert.ok(await store.has(digest), `${cause}: what was said to be there is there`);
    for (const each of [one, other]) {
      if (await store.has(each.digest)) continue;
      // What survived of a part was synced, so resuming never ends in a wrong digest.
      await fetchInPieces(store, each);
      assert.equal(await store.verify(each.digest), "intact", cause);
    }
  },
  statesMax: 300,
};

void test("whatever instant the power fails, a blob is whole or not there, and a part can be resumed", async () => {
  const figures = await crashEverywhere(scenario);
  assert.ok(figures.points > 25 && figures.states > 200, JSON.stringify(figures));
  assert.equal(figures.sampledPoints, 0);
});

for (const fault of [
  { kind: "refuse", code: "ENOSPC" },
  { kind: "partial", code: "ENOSPC" },
  { kind: "refuse", code: "EIO" },
  { kind: "loseSync" },
] as const) {
  void test(`one fault (${JSON.stringify(fault)}) at any operation never makes a wrong blob count`, async () => {
    let refused = 0;
    const figures = await failEverywhere<Set<string>>(
      {
        ...scenario,
        run: async (disk, told) => {
          // The loop tries again in the same process, with the store that it has.
          let store: ContentStore | undefined;
          try {
            store = await open(disk);
            await fetchBoth(store, told);
          } catch (error) {
            assert.ok(error instanceof DiskError, String(error));
            refused += 1;
            await fetchBoth(store ?? (await open(disk)), told);
          }
        },
      },
      fault,
    );
    assert.ok(figures.points > 25);
    assert.ok(refused > 0);
  });
}

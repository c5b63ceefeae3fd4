import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskError } from "@muto/kit/disk";
import { removeLeftovers, writeDurably } from "@muto/kit/durable-file";
import { seededRandom } from "@muto/kit/random";
import { crashEverywhere, failEverywhere } from "../crash-points.ts";
import type { CrashScenario } from "../crash-points.ts";
import type { SimulatedDisk } from "../disk.ts";

const path = "/state/file";
/** Lies in three sectors. */
const content = (name: string) => Buffer.from(name.repeat(1200));

interface Told {
  certain: string | undefined;
  possible: string | undefined;
}

async function replace(disk: SimulatedDisk, told: Told, name: string): Promise<void> {
  told.possible = name;
  await writeDurably(disk, path, content(name));
  told.certain = name;
}

async function read(disk: SimulatedDisk): Promise<string | undefined> {
  const bytes = await disk.read(path);
  if (bytes === undefined) return undefined;
  const name = Buffer.from(bytes.subarray(0, 1)).toString();
  assert.ok(content(name).equals(bytes), "a mix of contents");
  return name;
}

const scenario: CrashScenario<Told> = {
  prepare: (disk) => disk.makeFolder("/state"),
  run: async (disk, told) => {
    await replace(disk, told, "a");
    await replace(disk, told, "b");
  },
  nothingTold: () => ({ certain: undefined, possible: undefined }),
  check: async (disk, told, cause) => {
    await removeLeftovers(disk, "/state");
    const found = await read(disk);
    assert.ok(found === told.certain || found === told.possible, `${cause}: ${found}`);
    assert.deepEqual(
      (await disk.list("/state")).map(({ name }) => name),
      found === undefined ? [] : ["file"],
      cause,
    );
    for (const later of disk.crashed(50, seededRandom(1)).disks) assert.equal(await read(later), found, cause);
  },
  statesMax: 1000,
};

void test("whatever instant the power fails, the file is old or new, and new once it was said so", async () => {
  const figures = await crashEverywhere(scenario);
  assert.ok(figures.points > 12 && figures.states > 40, JSON.stringify(figures));
  assert.equal(figures.sampledPoints, 0);
});

for (const fault of [
  { kind: "refuse", code: "EIO" },
  { kind: "partial", code: "ENOSPC" },
  { kind: "loseSync" },
] as const) {
  void test(`one fault (${fault.kind}) at any operation leaves the file old or new`, async () => {
    let refused = 0;
    const figures = await failEverywhere<Told>(
      {
        ...scenario,
        run: async (disk, told) => {
          try {
            await scenario.run(disk, told);
          } catch (error) {
            assert.ok(error instanceof DiskError);
            refused += 1;
          }
        },
      },
      fault,
    );
    assert.ok(figures.points > 12);
    assert.ok(refused > 0);
  });
}

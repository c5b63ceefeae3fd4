import assert from "node:assert/strict";
import { test } from "node:test";
import { loadOrCreateKey } from "@muto/agent/cache/key-store";
import { crashEverywhere } from "../crash-points.ts";
import type { SimulatedDisk } from "../disk.ts";

let made = 0;
const open = (disk: SimulatedDisk) =>
  loadOrCreateKey({ disk, path: "/state/vehicle.pem", generate: async () => `key ${++made} `.padEnd(700, "x") });

void test("a key that somebody has heard of is never lost to a power cut, nor replaced, nor half there", async () => {
  const figures = await crashEverywhere<{ key: string | undefined }>({
    run: async (disk, told) => {
      told.key = (await open(disk)).privatePem;
    },
    nothingTold: () => ({ key: undefined }),
    check: async (disk, told, cause) => {
      const { privatePem } = await open(disk);
      assert.equal(privatePem.length, 700, cause);
      if (told.key !== undefined) assert.equal(privatePem, told.key, cause);
      assert.equal((await disk.stat("/state/vehicle.pem"))?.mode, 0o600, cause);
      assert.equal((await open(disk)).privatePem, privatePem, cause);
    },
    statesMax: 200,
  });
  assert.ok(figures.points > 8, JSON.stringify(figures));
  assert.equal(figures.sampledPoints, 0);
});

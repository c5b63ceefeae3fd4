import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DiskError, systemDisk } from "@muto/kit/disk";
import type { ChangeInProgress } from "@muto/spec";
import { createChangeFlag } from "./change-flag.ts";

void test("change flag: when the file cannot be written nobody is told, unless it is asked for (H5, H8)", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "muto-flag-"));
  t.after(() => rm(folder, { recursive: true }));
  const told: ChangeInProgress[] = [];
  const file = join(folder, "no such folder", "change.json");
  const flag = createChangeFlag({ disk: systemDisk(), file, tell: (change) => void told.push(change) });
  const changeId = "01J00000000000000000000000";
  const change = { kind: "muto.change/v1", inProgress: true, changeId, at: "2026-06-01T01:00:00.000Z" } as const;
  await assert.rejects(flag.assert(change), (error) => error instanceof DiskError);
  assert.deepEqual(told, []);
  flag.tell(change);
  assert.deepEqual(told, [change]);
});

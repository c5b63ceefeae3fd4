import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { RunFolder } from "./run-folder.ts";

test("a folder is claimed once, and one that is gone needs no claim", async () => {
  const runs = await mkdtemp(join(tmpdir(), "muto-runs-"));
  try {
    const disk = systemDisk();
    const folder = new RunFolder(disk, runs, "one");
    await disk.makeFolder(folder.path);
    assert.equal(await folder.abandon(), true);
    assert.equal(await folder.abandon(), false);
    assert.deepEqual(await folder.owner(), { kind: "abandoned" });
    // A heartbeat looks at the instances while the loop forgets one of them.
    assert.equal(await new RunFolder(disk, runs, "forgotten").abandon(), true);
    assert.deepEqual(await disk.list(join(runs, "forgotten")), []);
  } finally {
    await rm(runs, { recursive: true });
  }
});

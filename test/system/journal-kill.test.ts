import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { openJournal } from "@muto/kit/journal";

const writer = join(import.meta.dirname, "journal", "writer.ts");
const limits = { capacityBytes: 4096, reserveBytes: 256, recordBytesMax: 2048 };

void test("a real process killed before any of its calls to a real disk leaves the journal as it was told, or one step on", async () => {
  const whole = await run(Number.POSITIVE_INFINITY);
  assert.equal(whole.signal, null);
  const steps = whole.told;
  assert.equal(steps.length, 7);
  assert.deepEqual(whole.found, steps.at(-1));
  let kills = 0;
  for (let call = 0; ; call++) {
    const { signal, told, found } = await run(call);
    if (signal === null) break;
    kills += 1;
    const certain = told.at(-1) ?? "";
    const possible = steps[told.length] ?? "";
    assert.deepEqual(told, steps.slice(0, told.length));
    assert.ok(found === certain || found === possible, `killed at call ${call}: found ${found} after ${certain}`);
  }
  assert.ok(kills > 30, `${kills} kills`);
});

async function run(call: number) {
  const folder = await mkdtemp(join(tmpdir(), "muto-kill-"));
  try {
    const { signal, stdout, stderr } = spawnSync(process.execPath, [writer, folder, String(call)], {
      encoding: "utf8",
    });
    assert.ok(signal === "SIGKILL" || stderr === "", stderr);
    const { journal, records, found } = await openJournal({
      disk: systemDisk(),
      path: join(folder, "journal"),
      limits,
    });
    assert.notEqual(found.kind, "damaged");
    await journal.append(Buffer.from("it goes on"));
    await journal.close();
    const texts = records.map((record) => Buffer.from(record).toString().replace(/\.+$/, ""));
    return { signal, told: stdout.split("\n").slice(0, -1), found: texts.join("|") };
  } finally {
    await rm(folder, { recursive: true });
  }
}

import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemDisk } from "@muto/kit/disk";
import { fastClock } from "../../test/stand-ins/fast-clock.ts";
import type { LocalLock } from "../safety/signals.ts";
import { readLock, watchLock } from "./lock-file.ts";

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "muto-lock-"));
  return {
    lock: join(path, "hold.lock"),
    [Symbol.asyncDispose]: async () => {
      await chmod(path, 0o700);
      await rm(path, { recursive: true });
    },
  };
}

const anonymous: LocalLock = { kind: "held", who: "lock-file", why: "other", untilWallMs: null };
const kind = "muto.lock-file/v1";
const until = "2026-06-01T01:00:00.000Z";

const contents: readonly (readonly [string, string, LocalLock])[] = [
  ["empty", "", anonymous],
  ["half a line", '{"by": "mis', anonymous],
  ["a process id, as lock files have", "4711\n", anonymous],
  ["a reason that nobody knows", JSON.stringify({ kind, by: "planner", reason: "lunch" }), anonymous],
  ["larger than any lock", " ".repeat(100_000), anonymous],
  [
    "who and why",
    JSON.stringify({ kind, by: "planner", reason: "mission" }),
    { ...anonymous, who: "planner", why: "mission" },
  ],
  ["until when", JSON.stringify({ kind, until }), { ...anonymous, untilWallMs: Date.parse(until) }],
  ["until an hour that does not exist", JSON.stringify({ kind, until: "2026-06-31T99:00:00.000Z" }), anonymous],
];
for (const [name, content, lock] of contents) {
  test(`lock: ${name}`, async () => {
    await using place = await folder();
    await writeFile(place.lock, content);
    assert.deepEqual(await readLock(systemDisk(), place.lock), lock);
  });
}

test("lock: none, and one that is a folder", async () => {
  await using place = await folder();
  assert.deepEqual(await readLock(systemDisk(), place.lock), { kind: "none" });
  await mkdir(place.lock);
  assert.notEqual((await readLock(systemDisk(), place.lock)).kind, "none");
});

test("lock: whoever watches is woken when it comes and when it goes", { timeout: 10_000 }, async () => {
  await using place = await folder();
  const stop = new AbortController();
  let woken = Promise.withResolvers<void>();
  const ports = { disk: systemDisk(), clock: fastClock(50) };
  const watching = watchLock(ports, place.lock, () => woken.resolve(), stop.signal);
  await ports.clock.sleep(500);
  await writeFile(place.lock, "");
  await woken.promise;
  woken = Promise.withResolvers();
  await rm(place.lock);
  await woken.promise;
  stop.abort();
  await watching;
});

import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import type { SignalLine } from "@muto/spec";
import { openFileProvider } from "./file-provider.ts";

type Heard = SignalLine | "malformed";

function lineOf(speedMps: number): string {
  return `${JSON.stringify({ kind: "muto.signals/v1", speedMps })}\n`;
}

/** A provider on a file of its own, and the lines it heard; `next` waits for one more. */
async function openFollowed(before?: string) {
  const folder = await mkdtemp(join(tmpdir(), "muto-signals-"));
  const path = join(folder, "signals.json");
  if (before !== undefined) await writeFile(path, before);
  const heard: Heard[] = [];
  let arrived = Promise.withResolvers<void>();
  const provider = await openFileProvider({
    path,
    logger: silentLogger,
    clock: systemClock(),
    onLine: (line) => {
      heard.push(line);
      arrived.resolve();
    },
  });
  return {
    folder,
    path,
    heard,
    next: async (): Promise<Heard | undefined> => {
      await arrived.promise;
      arrived = Promise.withResolvers();
      return heard.at(-1);
    },
    [Symbol.asyncDispose]: async () => {
      await provider[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

function speedOf(line: Heard | undefined): number | null | string | undefined {
  return line === "malformed" ? line : line?.speedMps;
}

test("file: what it held before the first look is no sample (H6); what is written then is one", async () => {
  await using file = await openFollowed(lineOf(1));
  await writeFile(file.path, lineOf(2));
  assert.equal(speedOf(await file.next()), 2);
  assert.equal(file.heard.length, 1);
});

test("file: a gateway at rest that writes the same line again is heard again", async () => {
  await using file = await openFollowed(lineOf(0));
  await utimes(file.path, 1_000, 1_000);
  assert.equal(speedOf(await file.next()), 0);
});

test("file: a file that appears, or replaces another by renaming, is heard", async () => {
  await using file = await openFollowed();
  await writeFile(file.path, lineOf(3));
  assert.equal(speedOf(await file.next()), 3);
  await writeFile(join(file.folder, "next"), lineOf(4));
  await rename(join(file.folder, "next"), file.path);
  assert.equal(speedOf(await file.next()), 4);
});

test("file: the last line of a file that grows", async () => {
  await using file = await openFollowed(lineOf(1).repeat(1_000));
  await appendFile(file.path, lineOf(5));
  assert.equal(speedOf(await file.next()), 5);
});

test("file: an unfinished line is not heard, nor is the one before it heard again", async () => {
  await using file = await openFollowed(lineOf(1));
  await appendFile(file.path, lineOf(6).slice(0, 20));
  await appendFile(file.path, lineOf(6).slice(20));
  assert.equal(speedOf(await file.next()), 6);
  assert.equal(file.heard.length, 1);
});

test("file: a whole object without a line end counts", async () => {
  await using file = await openFollowed("");
  await writeFile(file.path, lineOf(7).trimEnd());
  assert.equal(speedOf(await file.next()), 7);
});

const malformed: readonly (readonly [string, string])[] = [
  ["no JSON", "speed 5\n"],
  ["a number out of bounds", lineOf(201)],
  ["another kind", '{"kind":"muto.signals/v2","speedMps":0}\n'],
  ["an empty line", "\n"],
  ["a line that is too long", `{"kind":"muto.signals/v1","pad":"${"x".repeat(5_000)}"}\n`],
  ["a line that never ends", "x".repeat(100_000)],
  ["nested too deeply", `{"kind":"muto.signals/v1","pad":${"[".repeat(50)}${"]".repeat(50)}}\n`],
  ["bytes that are no text", "\u0000\ufffd\u0000\n"],
];
for (const [name, content] of malformed) {
  test(`file: malformed: ${name}`, async () => {
    await using file = await openFollowed(lineOf(0));
    await writeFile(join(file.folder, "next"), content);
    await rename(join(file.folder, "next"), file.path);
    assert.equal(await file.next(), "malformed");
  });
}

test("file: a folder, and later a link that leads to a file, in its place", async () => {
  await using file = await openFollowed();
  await mkdir(file.path);
  await rm(file.path, { recursive: true });
  await writeFile(join(file.folder, "elsewhere"), lineOf(8));
  await symlink(join(file.folder, "elsewhere"), file.path);
  assert.equal(speedOf(await file.next()), 8);
});

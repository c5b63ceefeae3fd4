import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { makeHold, makeStanding } from "../safety/technician.ts";
import { readHold, readTechnician, release, writeHold, writeStanding } from "./technician-files.ts";
import { createTechnicianReader } from "./technician-reader.ts";
import { systemUptime } from "./uptime.ts";

const bootId = "6f1d0d3e-6b1c-4d5a-9a0e-3f1f6f9b2a11";
const wallMs = Date.parse("2026-06-01T10:00:00Z");
const now = { bootId, uptimeMs: 100_000, monotonicMs: 5_000, wallMs };
const nothing = { hold: { kind: "none" }, standing: null };

async function openFolder() {
  const stateDir = await mkdtemp(join(tmpdir(), "muto-technician-"));
  const folder = { disk: systemDisk(), stateDir };
  return { folder, stateDir, [Symbol.asyncDispose]: () => rm(stateDir, { recursive: true }) };
}

test("technician: nothing was said", async () => {
  await using opened = await openFolder();
  assert.deepEqual(await readTechnician(opened.folder, now), nothing);
  assert.equal(await release(opened.folder), false);
});

test("technician: hold and confirmation are read back, and belong to the owner alone", async () => {
  await using opened = await openFolder();
  const standing = makeStanding("anna", 600_000, now);
  assert.ok(standing !== undefined);
  await writeHold(opened.folder, makeHold("anna", "maintenance", wallMs));
  await writeStanding(opened.folder, standing);
  assert.deepEqual(await readTechnician(opened.folder, now), {
    hold: { kind: "held", who: "anna", why: "maintenance" },
    standing: { madeMs: 5_000, untilMs: 605_000, untilWallMs: wallMs + 600_000 },
  });
  const modes = await Promise.all(
    ["", "hold.json", "standing.json"].map((name) => stat(join(opened.stateDir, "local", name))),
  );
  assert.deepEqual(
    modes.map(({ mode }) => mode & 0o777),
    [0o700, 0o600, 0o600],
  );
});

test("technician: a confirmation ends with the boot", async () => {
  await using opened = await openFolder();
  const standing = makeStanding("anna", 600_000, now);
  assert.ok(standing !== undefined);
  await writeStanding(opened.folder, standing);
  const rebooted = { ...now, bootId: "00000000-0000-4000-8000-000000000000" };
  assert.deepEqual(await readTechnician(opened.folder, rebooted), nothing);
});

test("technician: release takes back everything, even what cannot be read", async () => {
  await using opened = await openFolder();
  await writeHold(opened.folder, makeHold("anna", "maintenance", wallMs));
  await writeFile(join(opened.stateDir, "local", "hold.json"), "{");
  assert.equal(await release(opened.folder), true);
  assert.deepEqual(await readTechnician(opened.folder, now), nothing);
});

const damages: readonly (readonly [string, (path: string) => Promise<void>])[] = [
  ["cut off in the middle", (path) => writeFile(path, '{"kind":"muto.lo')],
  ["empty", (path) => writeFile(path, "")],
  ["of another kind", (path) => writeFile(path, '{"kind":"muto.local-hold/v9"}')],
  ["far too large", (path) => writeFile(path, " ".repeat(5_000))],
  ["writable by everybody", (path) => chmod(path, 0o666)],
];
for (const [name, damage] of damages) {
  test(`technician: a hold that is ${name} still holds, a confirmation does not confirm`, async () => {
    await using opened = await openFolder();
    const standing = makeStanding("anna", 600_000, now);
    assert.ok(standing !== undefined);
    await writeHold(opened.folder, makeHold("anna", "maintenance", wallMs));
    await writeStanding(opened.folder, standing);
    await damage(join(opened.stateDir, "local", "hold.json"));
    await damage(join(opened.stateDir, "local", "standing.json"));
    assert.deepEqual(await readTechnician(opened.folder, now), { hold: { kind: "unreadable" }, standing: null });
  });
}

test("technician: whoever watches is woken by a hold", { timeout: 10_000 }, async () => {
  await using opened = await openFolder();
  const boot = { id: async () => bootId };
  const clock = { ...systemClock(), sleep: (ms: number, stop?: AbortSignal) => systemClock().sleep(ms / 100, stop) };
  const reader = createTechnicianReader({ ...opened.folder, clock, boot, uptime: systemUptime() });
  const woken = Promise.withResolvers<void>();
  await using watch = reader.watch(() => woken.resolve());
  assert.ok(watch);
  assert.deepEqual(await reader.read(), nothing);
  await writeHold(opened.folder, makeHold("anna", "diagnosis", wallMs));
  await woken.promise;
  assert.deepEqual((await reader.read()).hold, { kind: "held", who: "anna", why: "diagnosis" });
  assert.equal((await readHold(opened.folder)).kind, "document");
});

test("technician: a confirmation from before this process counts for nothing, however long it was made for (H6)", async () => {
  await using opened = await openFolder();
  const boot = { id: async () => bootId };
  const time = { monotonicMs: 1_000, uptimeMs: 5_000_000 };
  const clock = { ...systemClock(), monotonicMs: () => time.monotonicMs, wallMs: () => wallMs };
  const uptime = () => time.uptimeMs;
  const confirm = async () => {
    const standing = makeStanding("anna", 600_000, { bootId, uptimeMs: time.uptimeMs, wallMs });
    assert.ok(standing !== undefined);
    await writeStanding(opened.folder, standing);
  };
  const open = () => createTechnicianReader({ ...opened.folder, clock, boot, uptime });
  const pass = (ms: number) => {
    time.monotonicMs += ms;
    time.uptimeMs += ms;
  };
  const before = open();
  pass(1_000);
  await confirm();
  pass(1_000);
  assert.notEqual((await before.read()).standing, null);
  const after = open();
  assert.equal((await after.read()).standing, null);
  pass(1_000);
  await confirm();
  assert.notEqual((await after.read()).standing, null, "the technician says so again");
});

test("technician: the computer's uptime does not go back", () => {
  const uptime = systemUptime();
  const first = uptime();
  assert.ok(first > 0 && uptime() >= first);
});

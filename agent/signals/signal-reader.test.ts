import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { systemDisk } from "@muto/kit/disk";
import { systemUdpNetwork } from "@muto/dds/udp-network";
import { silentLogger } from "@muto/kit/logger";
import { systemRandom } from "@muto/kit/random";
import type { ChangeInProgress, SignalLine } from "@muto/spec";
import { systemWebSocket } from "../rosbridge/system-web-socket.ts";
import { isAcknowledged } from "../safety/acknowledgement.ts";
import { exampleConfig } from "../safety/example-vehicle.ts";
import { noSamples } from "../safety/signals.ts";
import { createChangeFlag, waitForAcknowledgement } from "./change-flag.ts";
import { openSignalReader } from "./signal-reader.ts";

const changeId = "01J00000000000000000000000";
const change: ChangeInProgress = { kind: "muto.change/v1", inProgress: true, changeId, at: "2026-06-01T01:00:00.000Z" };
const silentTechnician = {
  read: async () => noSamples.technician,
  watch: () => ({ [Symbol.asyncDispose]: async () => {} }),
};

const random = systemRandom();
const elsewhere = {
  disk: systemDisk(),
  random,
  logger: silentLogger,
  technician: silentTechnician,
  webSocket: systemWebSocket(random),
  udp: systemUdpNetwork(),
};

/** A reader on one file and one socket, with a clock that a test moves by hand for what is measured. */
async function openVehicle() {
  const folder = await mkdtemp(join(tmpdir(), "muto-reader-"));
  const socketPath = join(folder, "s");
  const filePath = join(folder, "signals.json");
  const source = [{ provider: "gateway", freshForSec: 2 }];
  const config = exampleConfig({
    safety: { standstillSec: 10 },
    signals: {
      speed: source,
      mode: source,
      battery: source,
      providers: [
        { name: "gateway", kind: "socket", path: socketPath },
        { name: "body", kind: "file", path: filePath },
      ],
    },
  });
  const now = { monotonicMs: 1_000, wallMs: 1_000_000 };
  const clock = { ...systemClock(), monotonicMs: () => now.monotonicMs, wallMs: () => now.wallMs };
  const reader = await openSignalReader({ config, clock, ...elsewhere });
  const client = connect(socketPath);
  await once(client, "connect");
  return {
    folder,
    filePath,
    reader,
    clock,
    client,
    pass: (sec: number) => {
      now.monotonicMs += sec * 1000;
      now.wallMs += sec * 1000;
    },
    say: async (values: Partial<SignalLine>) => {
      client.write(`${JSON.stringify({ kind: "muto.signals/v1", ...values })}\n`);
    },
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      await reader[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

type Vehicle = Awaited<ReturnType<typeof openVehicle>>;

/** Waits until the samples are as wanted; every wake-up reads the truth again. */
async function untilSamples(vehicle: Vehicle, wanted: (speedMps: number | null | undefined) => boolean): Promise<void> {
  for (;;) {
    const { providers } = await vehicle.reader.read();
    if (wanted(providers.get("gateway")?.samples.speedMps?.value)) return;
    await vehicle.clock.sleep(1);
  }
}

test("reader: the history of standing is kept between looks", { timeout: 10_000 }, async () => {
  await using vehicle = await openVehicle();
  await vehicle.say({ speedMps: 0 });
  await untilSamples(vehicle, (speed) => speed === 0);
  vehicle.pass(1);
  await vehicle.say({ speedMps: 5 });
  await untilSamples(vehicle, (speed) => speed === 5);
  vehicle.pass(1);
  await vehicle.say({ speedMps: 0.01 });
  await untilSamples(vehicle, (speed) => speed === 0.01);
  const gateway = (await vehicle.reader.read()).providers.get("gateway");
  assert.equal(gateway?.calmSinceMs.speedMps, 3_000);
  assert.equal(gateway?.contradictedMs, 2_000);
});

test("reader: repetition wakes nobody, a changed meaning does", { timeout: 10_000 }, async () => {
  await using vehicle = await openVehicle();
  let wakes = 0;
  await using watch = vehicle.reader.watch(() => {
    wakes += 1;
  });
  assert.ok(watch);
  await vehicle.say({ speedMps: 0 });
  await untilSamples(vehicle, (speed) => speed === 0);
  assert.equal(wakes, 1);
  for (const speedMps of [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]) {
    vehicle.pass(1.5);
    await vehicle.say({ speedMps });
    await untilSamples(vehicle, (speed) => speed === speedMps);
  }
  assert.equal(wakes, 1, "nine seconds are not long enough");
  vehicle.pass(1.5);
  await vehicle.say({ speedMps: 0.07 });
  await untilSamples(vehicle, (speed) => speed === 0.07);
  assert.equal(wakes, 2, "ten and a half are");
  for (const speedMps of [4, 5, 6]) {
    await vehicle.say({ speedMps });
    await untilSamples(vehicle, (speed) => speed === speedMps);
  }
  assert.equal(wakes, 3, "it moves; how fast wakes nobody");
});

test("reader: file and socket are heard apart", { timeout: 10_000 }, async () => {
  await using vehicle = await openVehicle();
  const heard = Promise.withResolvers<void>();
  await using watch = vehicle.reader.watch(() => heard.resolve());
  assert.ok(watch);
  await writeFile(vehicle.filePath, '{"kind":"muto.signals/v1","parked":true}');
  await heard.promise;
  const { providers } = await vehicle.reader.read();
  assert.deepEqual([...providers.keys()], ["body"]);
  assert.equal(providers.get("body")?.samples.parked?.value, true);
});

test(
  "change: told durably in the file and over the socket, and acknowledged in a line",
  { timeout: 10_000 },
  async () => {
    await using vehicle = await openVehicle();
    const file = join(vehicle.folder, "change.json");
    const flag = createChangeFlag({ disk: systemDisk(), file, tell: (said) => vehicle.reader.tell(said) });
    const lines = createInterface({ input: vehicle.client });
    const told = once(lines, "line");
    // The provider knows the client once it has heard it.
    await vehicle.say({ speedMps: 1 });
    await untilSamples(vehicle, (speed) => speed === 1);
    await flag.assert(change);
    assert.deepEqual(JSON.parse(await readFile(file, "utf8")), change);
    assert.deepEqual(JSON.parse(String((await told)[0])), change);

    const signal = new AbortController().signal;
    const waiting = waitForAcknowledgement({
      signals: vehicle.reader,
      clock: vehicle.clock,
      changeId,
      timeoutMs: 60_000,
      signal,
    });
    await vehicle.say({ changeAcknowledged: "01J00000000000000000000001" });
    await vehicle.say({ changeAcknowledged: changeId });
    assert.equal(await waiting, true);
    assert.equal(isAcknowledged(await vehicle.reader.read(), changeId), true);
  },
);

test("change: not acknowledged in time, or nobody waits any longer", async () => {
  await using vehicle = await openVehicle();
  const wait = { signals: vehicle.reader, clock: vehicle.clock, changeId };
  const forEver = new AbortController();
  assert.equal(await waitForAcknowledgement({ ...wait, timeoutMs: 0, signal: forEver.signal }), false);
  const waiting = waitForAcknowledgement({ ...wait, timeoutMs: 60_000, signal: forEver.signal });
  forEver.abort();
  assert.equal(await waiting, false);
});

test("change: a file that cannot be written tells nobody", async () => {
  await using vehicle = await openVehicle();
  const told: ChangeInProgress[] = [];
  const flag = createChangeFlag({
    disk: systemDisk(),
    file: join(vehicle.folder, "no-such-folder", "change.json"),
    tell: (said) => told.push(said),
  });
  await assert.rejects(flag.assert(change), { name: "DiskError", code: "ENOENT" });
  assert.deepEqual(told, []);
});

test("reader: a socket that cannot be opened stops the start and closes what was open", async () => {
  await using vehicle = await openVehicle();
  const source = [{ provider: "a" }];
  const config = exampleConfig({
    signals: {
      speed: source,
      mode: source,
      battery: source,
      providers: [
        { name: "a", kind: "socket", path: join(vehicle.folder, "a") },
        { name: "b", kind: "socket", path: join(vehicle.folder, "no-such-folder", "b") },
      ],
    },
  });
  const options = { config, clock: vehicle.clock, ...elsewhere };
  await assert.rejects(openSignalReader(options), { code: "EACCES" });
  const client = connect(join(vehicle.folder, "a"));
  const [error] = await once(client, "error");
  assert.equal(error.code, "ENOENT");
});

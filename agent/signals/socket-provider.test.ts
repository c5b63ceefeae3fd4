import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rename, rm, stat } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import type { ChangeInProgress, SignalLine } from "@muto/spec";
import { openSocketProvider } from "./socket-provider.ts";

const change: ChangeInProgress = {
  kind: "muto.change/v1",
  inProgress: true,
  changeId: "01J00000000000000000000000",
  at: "2026-06-01T01:00:00.000Z",
};

async function openListening() {
  const folder = await mkdtemp(join(tmpdir(), "muto-socket-"));
  const path = join(folder, "s");
  const heard: (SignalLine | "malformed")[] = [];
  let awaited = { count: 0, reached: Promise.withResolvers<void>() };
  const provider = await openSocketProvider({
    path,
    clock: systemClock(),
    logger: silentLogger,
    onLine: (line) => {
      heard.push(line);
      if (heard.length === awaited.count) awaited.reached.resolve();
    },
  });
  const clients: Socket[] = [];
  return {
    path,
    heard,
    provider,
    connect: async (): Promise<Socket> => {
      const client = connect(path);
      client.on("error", () => client.destroy());
      clients.push(client);
      await once(client, "connect");
      return client;
    },
    /** Resolves when `count` lines in all have been heard. */
    hearing: async (count: number) => {
      awaited = { count, reached: Promise.withResolvers() };
      if (heard.length < count) await awaited.reached.promise;
      return heard;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.destroy();
      await provider[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

function lineOf(values: Partial<SignalLine>): string {
  return `${JSON.stringify({ kind: "muto.signals/v1", ...values })}\n`;
}

test("socket: lines of several clients, cut anywhere", async () => {
  await using socket = await openListening();
  const [one, two] = [await socket.connect(), await socket.connect()];
  const text = lineOf({ speedMps: 1 }) + lineOf({ parked: true });
  one.write(text.slice(0, 30));
  two.write(lineOf({ mode: "manual" }));
  await socket.hearing(1);
  one.write(text.slice(30));
  const heard = await socket.hearing(3);
  assert.deepEqual(heard.slice(1), [JSON.parse(lineOf({ speedMps: 1 })), JSON.parse(lineOf({ parked: true }))]);
  assert.equal((await stat(socket.path)).mode & 0o777, 0o660);
});

test("socket: a malformed line is said to be one, and the client may go on", async () => {
  await using socket = await openListening();
  const client = await socket.connect();
  client.write(`nonsense\n${lineOf({ parked: true })}`);
  assert.deepEqual(await socket.hearing(2), ["malformed", JSON.parse(lineOf({ parked: true }))]);
});

test("socket: a change is told to every client, also to one that comes later", { timeout: 10_000 }, async () => {
  await using socket = await openListening();
  const early = await socket.connect();
  // Heard means accepted: the provider knows this client now.
  early.write(lineOf({}));
  await socket.hearing(1);
  socket.provider.tell(change);
  const late = await socket.connect();
  for (const client of [early, late]) {
    const [line] = await once(createInterface({ input: client }), "line");
    assert.deepEqual(JSON.parse(String(line)), change);
  }
});

const cutOff: readonly (readonly [string, string])[] = [
  ["whose line never ends", "x".repeat(10_000)],
  ["that floods", lineOf({ speedMps: 0 }).repeat(2_000)],
];
for (const [name, bytes] of cutOff) {
  test(`socket: a client ${name} is cut off, and what was said is taken back`, { timeout: 10_000 }, async () => {
    await using socket = await openListening();
    const client = await socket.connect();
    const closed = Promise.withResolvers<void>();
    client.on("close", () => closed.resolve());
    client.write(bytes);
    await closed.promise;
    assert.equal(socket.heard.at(-1), "malformed");
    const next = await socket.connect();
    next.write(lineOf({ parked: true }));
    await socket.hearing(socket.heard.length + 1);
  });
}

test("socket: more clients than the limit are turned away", { timeout: 10_000 }, async () => {
  await using socket = await openListening();
  const clients = await Promise.all(Array.from({ length: 17 }, () => socket.connect()));
  await Promise.race(clients.map((client) => once(client.resume(), "close")));
  assert.equal(clients.filter(({ destroyed }) => destroyed).length, 1);
});

test("socket: the one that a killed agent left over is replaced, one in use is not", async () => {
  await using socket = await openListening();
  const options = { clock: systemClock(), logger: silentLogger, onLine: () => {}, path: socket.path };
  await assert.rejects(openSocketProvider(options), { code: "EADDRINUSE" });

  const abandoned = `${socket.path}-2`;
  const killed = createServer();
  killed.listen(abandoned);
  await once(killed, "listening");
  await rename(abandoned, `${abandoned}-kept`);
  killed.close();
  await rename(`${abandoned}-kept`, abandoned);
  const opened = await openSocketProvider({ ...options, path: abandoned });
  await opened[Symbol.asyncDispose]();
});

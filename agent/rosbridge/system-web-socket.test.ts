import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { systemRandom } from "@muto/kit/random";
import { openRosbridgeDouble } from "../../test/stand-ins/rosbridge.ts";
import { systemWebSocket } from "./system-web-socket.ts";

/** Connects, and resolves with how it ended; `heard` has what came before. */
function connect(url: string) {
  const heard: string[] = [];
  const [opened, closed, alive] = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<string>(),
    Promise.withResolvers<void>(),
  ];
  const connection = systemWebSocket(systemRandom()).connect({
    url,
    messageBytesMax: 1_000_000,
    onOpen: () => opened.resolve(),
    onAlive: () => alive.resolve(),
    onMessage: ({ bytes }) => heard.push(Buffer.from(bytes).toString()),
    onClosed: (reason) => closed.resolve(reason),
  });
  return { connection, heard, opened: opened.promise, closed: closed.promise, alive: alive.promise };
}

async function listening(onRequest: RequestListener, onUpgrade?: (socket: Duplex) => void) {
  const server = createServer(onRequest);
  const upgraded: Duplex[] = [];
  if (onUpgrade !== undefined) {
    server.on("upgrade", (_, socket) => {
      upgraded.push(socket);
      onUpgrade(socket);
    });
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return {
    url: `ws://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const limit = { timeout: 10_000 };

test("web socket: texts of every length of frame arrive unharmed", limit, async () => {
  await using double = await openRosbridgeDouble();
  const { connection, opened, closed } = connect(double.url);
  await opened;
  const pads = ["", "é".repeat(100), "x".repeat(1_000), "x".repeat(70_000)];
  for (const pad of pads) connection.send(JSON.stringify({ op: "publish", topic: "/t", msg: { pad } }));
  await double.until(() => double.published.length === pads.length);
  assert.deepEqual(
    double.published.map(({ message }) => message),
    pads.map((pad) => ({ pad })),
  );
  connection.close();
  assert.equal(await closed, "CLOSED");
});

test("web socket: a ping is answered", limit, async () => {
  await using double = await openRosbridgeDouble();
  const { connection, opened, alive } = connect(double.url);
  await opened;
  connection.ping();
  await alive;
  connection.close();
});

test("web socket: nobody listens", limit, async () => {
  const double = await openRosbridgeDouble();
  await double[Symbol.asyncDispose]();
  assert.equal(await connect(double.url).closed, "ECONNREFUSED");
});

test("web socket: a web server that is no web socket", limit, async () => {
  await using server = await listening((_, response) => response.writeHead(404).end("no"));
  assert.equal(await connect(server.url).closed, "HTTP_ANSWER");
});

test("web socket: a handshake that was not made for this key", limit, async () => {
  await using server = await listening(
    () => {},
    (socket) =>
      socket.write("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n"),
  );
  assert.equal(await connect(server.url).closed, "BAD_HANDSHAKE");
});

test("web socket: a server that goes away", limit, async () => {
  await using double = await openRosbridgeDouble();
  const { opened, closed } = connect(double.url);
  await opened;
  double.cut();
  assert.match(await closed, /CLOSED_BY_SERVER|ECONNRESET/);
});

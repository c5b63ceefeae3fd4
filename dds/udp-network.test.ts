import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address } from "./network.ts";
import { systemUdpNetwork } from "./udp-network.ts";

const interfaceAddress = "127.0.0.1";

test("a datagram goes from one socket to another and says where it came from", async () => {
  const network = systemUdpNetwork();
  const received = Promise.withResolvers<readonly [string, Address]>();
  await using to = await network.open({
    interfaceAddress,
    port: 0,
    onDatagram: (bytes, from) => received.resolve([Buffer.from(bytes).toString(), from]),
  });
  await using sender = await network.open({ interfaceAddress, port: 0, onDatagram: () => {} });
  await sender.send(Buffer.from("hello"), { host: interfaceAddress, port: to.port });
  assert.deepEqual(await received.promise, ["hello", { host: interfaceAddress, port: sender.port }]);
});

test("what cannot be sent is lost and nothing more, also after closing", async () => {
  const socket = await systemUdpNetwork().open({ interfaceAddress, port: 0, onDatagram: () => {} });
  await socket.send(new Uint8Array(70_000), { host: interfaceAddress, port: 9 });
  await socket.send(new Uint8Array(1), { host: "203.0.113.1", port: 9 });
  await socket[Symbol.asyncDispose]();
  await socket[Symbol.asyncDispose]();
  await socket.send(new Uint8Array(1), { host: interfaceAddress, port: 9 });
});

test("a taken port or somebody else's address rejects", async () => {
  const network = systemUdpNetwork();
  await using taken = await network.open({ interfaceAddress, port: 0, onDatagram: () => {} });
  const onDatagram = () => {};
  await assert.rejects(network.open({ interfaceAddress, port: taken.port, onDatagram }), /cannot bind/);
  await assert.rejects(network.open({ interfaceAddress: "192.0.2.1", port: 0, onDatagram }), /cannot bind/);
});

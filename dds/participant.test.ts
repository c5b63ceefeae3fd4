import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "@muto/kit/clock";
import { silentLogger } from "@muto/kit/logger";
import { seededRandom } from "@muto/kit/random";
import type { Address, UdpNetwork, UdpSocketOptions } from "./network.ts";
import { openParticipant, type ParticipantOptions } from "./participant.ts";

/** A network in memory: datagrams come at once, to one port or to everybody in a group. */
function memoryNetwork() {
  const sockets = new Set<UdpSocketOptions & { readonly boundPort: number }>();
  const sent: Address[] = [];
  const network: UdpNetwork = {
    open: async (options) => {
      const boundPort = options.port === 0 ? 40_000 + sockets.size : options.port;
      const socket = { ...options, boundPort };
      sockets.add(socket);
      return {
        port: boundPort,
        send: async (bytes, to) => {
          sent.push(to);
          const from = { host: options.interfaceAddress, port: boundPort };
          for (const other of sockets) {
            const host = other.multicastGroup ?? other.interfaceAddress;
            if (host === to.host && other.boundPort === to.port) other.onDatagram(bytes, from);
          }
        },
        [Symbol.asyncDispose]: async () => void sockets.delete(socket),
      };
    },
  };
  return { network, sockets, sent };
}

function open(network: UdpNetwork, more: Partial<ParticipantOptions> & { seed?: number } = {}) {
  const { seed = 1, ...options } = more;
  const ports = { network, clock: systemClock(), random: seededRandom(seed), logger: silentLogger };
  return openParticipant({ domainId: 7, ...ports, ...options });
}

describe("a participant", () => {
  test("finds others and is told when they come and go", async () => {
    const { network, sockets } = memoryNetwork();
    await using first = await open(network);
    const came = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    using _failing = first.watch(() => {
      throw new Error("at the change");
    });
    using _watch = first.watch(() => (first.graph().participants.length > 0 ? came : left).resolve());
    const second = await open(network, { seed: 2 });
    await came.promise;
    assert.deepEqual(
      first.graph().participants.map(({ vendor, leaseMs }) => [vendor, leaseMs]),
      [["other", 20_000]],
    );
    await second[Symbol.asyncDispose]();
    await left.promise;
    assert.deepEqual(first.graph(), { participants: [], nodes: [], topics: [] });
    assert.equal(sockets.size, 2);
  });

  test("uses the group and ports of its domain, and leaves nothing open", async () => {
    const { network, sockets, sent } = memoryNetwork();
    const participant = await open(network);
    assert.deepEqual(
      [...sockets].map(({ multicastGroup, port }) => [multicastGroup, port]),
      [
        [undefined, 0],
        ["239.255.0.1", 7_400 + 7 * 250],
      ],
    );
    await participant[Symbol.asyncDispose]();
    assert.equal(sockets.size, 0);
    assert.deepEqual(new Set(sent.map(({ host, port }) => `${host}:${port}`)), new Set(["239.255.0.1:9150"]));
  });

  test("without multicast it asks the ports that peers may have, and no group", async () => {
    const { network, sockets, sent } = memoryNetwork();
    const participant = await open(network, { multicast: false, initialPeers: ["127.0.0.1"], peerIndexMax: 2 });
    assert.equal(sockets.size, 1);
    await participant[Symbol.asyncDispose]();
    assert.deepEqual(
      new Set(sent.map(({ host, port }) => `${host}:${port}`)),
      new Set(["127.0.0.1:9160", "127.0.0.1:9162", "127.0.0.1:9164"]),
    );
  });

  test("a subscription to names that ROS does not have, or a domain that does not exist, is refused", async () => {
    const { network, sockets } = memoryNetwork();
    await assert.rejects(open(network, { domainId: 233 }), RangeError);
    assert.equal(sockets.size, 0);
    await using participant = await open(network);
    const onSample = () => {};
    for (const [topic, type] of [
      ["odom", "nav_msgs/msg/Odometry"],
      ["/odom", "Odometry"],
    ] as const)
      assert.throws(() => participant.subscribe({ topic, type, onSample }), RangeError);
    using _subscription = participant.subscribe({ topic: "/odom", type: "nav_msgs/msg/Odometry", onSample });
    const { publishers, received } = participant.topic("/odom");
    assert.deepEqual([publishers, received?.samples], [0, 0]);
    assert.equal(participant.topic("/other").received, undefined);
  });

  test("what cannot be opened closes what was", async () => {
    const { network, sockets } = memoryNetwork();
    const failing: UdpNetwork = {
      open: async (options) => {
        if (options.multicastGroup !== undefined) throw new Error("no multicast here");
        return await network.open(options);
      },
    };
    await assert.rejects(open(failing), /no multicast/);
    assert.equal(sockets.size, 0);
  });
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { ADDRESS, BEST_EFFORT, LATCHED, OWN, peerOf, RELIABLE, TOPIC, TYPE, world } from "./engine-world.ts";
import { Engine } from "./engine.ts";
import { LIMITS } from "./limits.ts";
import { bytesOf, ENTITY, guidOf } from "./wire/identifiers.ts";
import { PID } from "./wire/parameters.ts";
import { buildMessage, parameterList } from "./wire/write-message.ts";

describe("hostile or broken neighbours", () => {
  test("a flood of participants, writers and samples leaves what was known, within limits", () => {
    const own = world();
    own.subscribe("latched");
    const good = peerOf(own, "a");
    good.announce(60_000);
    good.publish(0x103, LATCHED);
    for (let index = 0; index < 2 * LIMITS.participantsMax; index++) {
      const hex = index.toString(16).padStart(20, "f");
      const prefix = `0110${hex}`;
      const payload = parameterList([
        [PID.participantGuid, (writer) => writer.raw(bytesOf(guidOf(prefix, ENTITY.participant)))],
      ]);
      const datagram = buildMessage(prefix)
        .data({ reader: 0, writer: ENTITY.participantWriter, sequence: 1, payload })
        .bytes();
      own.engine.receive(datagram, { host: "127.0.0.1", port: 1 }, own.seen.nowMs);
    }
    assert.equal(own.engine.participants.size, LIMITS.participantsMax);
    for (let index = 1; index <= LIMITS.writersPerParticipantMax + 50; index++)
      good.publish((index << 8) | 3, BEST_EFFORT, TYPE, `rt/t${index}`);
    assert.equal(own.engine.participants.get(good.prefix)?.writers.size, LIMITS.writersPerParticipantMax);
    for (let sequence = 2; sequence < 50_000; sequence += 100) good.data(0x103, sequence);
    assert.ok(own.engine.heldBytes <= LIMITS.heldBytesMax);
    assert.ok(own.engine.counters.refused > 0);
    assert.ok(own.engine.participants.has(good.prefix));
  });

  test("a datagram full of heartbeats, and a storm of questions, are answered once", () => {
    const own = world();
    own.subscribe("latched");
    const peer = peerOf(own, "a");
    peer.announce();
    peer.publish(0x103, LATCHED);
    own.seen.nowMs += 100;
    own.sent.length = 0;
    peer.say((message) => {
      for (let count = 1; count <= 500; count++)
        message.heartbeat({ reader: 0x104, writer: 0x103, first: 1, last: 1_000 + count, count });
      return message;
    });
    assert.equal(own.sent.length, 1);
    own.sent.length = 0;
    const ends = { reader: ENTITY.subscriptionsReader, writer: ENTITY.subscriptionsWriter };
    for (let count = 1; count <= 100; count++)
      peer.say((message) => message.acknowledgement(ends, { base: 1, members: [1] }, count, false));
    assert.equal(own.sent.length, 1);
  });

  test("on the loopback nothing from outside is heard", () => {
    const own = world();
    own.engine.receive(buildMessage("0110".padEnd(24, "a")).bytes(), { host: "192.0.2.1", port: 7 }, 0);
    assert.equal(own.engine.counters.foreign, 1);
  });

  test("one's own datagrams are not a peer, and a participant under another's name is not believed", () => {
    const own = world();
    own.engine.tick(0);
    const payload = parameterList([
      [PID.participantGuid, (writer) => writer.raw(bytesOf(guidOf(OWN, ENTITY.participant)))],
    ]);
    for (const prefix of [OWN, "0110".padEnd(24, "a")])
      own.engine.receive(
        buildMessage(prefix).data({ reader: 0, writer: ENTITY.participantWriter, sequence: 1, payload }).bytes(),
        ADDRESS,
        0,
      );
    assert.equal(own.engine.participants.size, 0);
    assert.equal(own.engine.counters.malformed, 1);
  });

  test("a callback that throws, or ends its own subscription, harms nobody", () => {
    const own = world();
    const throwing = own.subscribe("adaptive", () => {
      throw new Error("at the sample");
    });
    const ending = own.subscribe("adaptive", () => own.engine.unsubscribe(ending.subscription));
    const last = own.subscribe("adaptive");
    const peer = peerOf(own, "a");
    peer.announce();
    peer.publish(0x103, RELIABLE);
    for (const sequence of [1, 2]) peer.data(0x103, sequence);
    assert.deepEqual(
      [throwing, ending, last].map(({ samples }) => samples.length),
      [2, 1, 2],
    );
    assert.equal(own.seen.faults, 2);
  });

  test("there are only so many subscriptions", () => {
    const own = world();
    for (let index = 0; index < LIMITS.subscriptionsMax; index++) own.subscribe("adaptive");
    assert.throws(() => own.subscribe("adaptive"), RangeError);
  });

  for (const vendor of ["cyclone-dds", "fast-dds"])
    test(`what was captured from ${vendor} gives its topics, whatever comes twice or in another order`, () => {
      const text = readFileSync(join(import.meta.dirname, "vectors", `${vendor}.json`), "utf8");
      const captured: { ownPrefix: string; datagrams: readonly string[] } = JSON.parse(text);
      const topics = new Set<string>();
      const engine = new Engine({
        prefix: captured.ownPrefix,
        address: ADDRESS,
        leaseMs: 20_000,
        announceTo: [],
        send: () => {},
        onChange: () => {
          for (const peer of engine.participants.values())
            for (const { topic } of peer.writers.values()) topics.add(topic);
        },
        onFault: () => assert.fail(),
      });
      const datagrams = captured.datagrams.map(bytesOf);
      const shuffled = [...datagrams, ...datagrams.toReversed(), ...datagrams];
      for (const [index, datagram] of shuffled.entries()) engine.receive(datagram, ADDRESS, index);
      assert.equal(engine.counters.malformed, 0);
      for (const topic of [TOPIC, "rt/battery_state", "rt/vehicle/status/control_mode", "ros_discovery_info"])
        assert.ok(topics.has(topic), topic);
    });
});

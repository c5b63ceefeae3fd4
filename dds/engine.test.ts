import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { writeKey } from "./discovery/announcements.ts";
import { BEST_EFFORT, LATCHED, lastOf, peerOf, RELIABLE, sequences, world } from "./engine-world.ts";
import { statisticsOf } from "./ros/graph.ts";
import { ENTITY, guidOf } from "./wire/identifiers.ts";
import { PID } from "./wire/parameters.ts";

describe("discovery", () => {
  for (const littleEndian of [true, false])
    test(`a peer is greeted, its writers are known, and data comes, ${littleEndian ? "little" : "big"}-endian`, () => {
      const own = world();
      const { samples } = own.subscribe("adaptive");
      const peer = peerOf(own, "a", littleEndian);
      peer.announce();
      assert.deepEqual(new Set(own.sent.map(({ to }) => to.port)), new Set([5_001]));
      peer.publish(0x103, RELIABLE);
      peer.data(0x103, 1);
      assert.deepEqual(sequences(samples), [1]);
      assert.equal(samples[0]?.writer, guidOf(peer.prefix, 0x103));
      assert.equal(samples[0]?.receivedAtMs, own.seen.nowMs);
    });

  test("a peer that is silent for its lease is gone with all it had, at its lease and not before", () => {
    const own = world();
    own.subscribe("adaptive");
    const peer = peerOf(own, "a");
    peer.announce(2_000);
    peer.publish(0x103, RELIABLE);
    own.pass(1_900);
    assert.equal(statisticsOf(own.engine, "/odom", { nowMs: own.seen.nowMs, windowMs: 1_000 }).matched, 1);
    own.pass(300);
    assert.equal(own.engine.participants.size, 0);
    const gone = statisticsOf(own.engine, "/odom", { nowMs: own.seen.nowMs, windowMs: 1_000 });
    assert.deepEqual([gone.publishers, gone.matched, gone.received?.liveWriters], [0, 0, 0]);
  });

  test("anything that a peer says keeps it alive", () => {
    const own = world();
    const peer = peerOf(own, "a");
    peer.announce(1_000);
    for (let step = 0; step < 10; step++) {
      own.pass(800);
      peer.say((message) => message.heartbeat({ reader: 0, writer: 0x999, first: 1, last: 0, count: step }));
    }
    assert.equal(own.engine.participants.size, 1);
  });

  test("a goodbye ends a peer at once, and a restarted one is a new one", () => {
    const own = world();
    const { samples } = own.subscribe("adaptive");
    const [before, after] = [peerOf(own, "a"), peerOf(own, "b")];
    before.announce();
    before.publish(0x103, RELIABLE);
    before.data(0x103, 9);
    before.leave();
    assert.equal(own.engine.participants.size, 0);
    after.announce();
    after.publish(0x103, RELIABLE);
    after.data(0x103, 1);
    assert.deepEqual(sequences(samples), [9, 1]);
  });

  test("a writer that ends is gone at once, and nobody ends the writers of others", () => {
    const own = world();
    const [one, other] = [peerOf(own, "a"), peerOf(own, "b")];
    for (const peer of [one, other]) {
      peer.announce();
      peer.publish(0x103, RELIABLE);
    }
    other.say((message) =>
      message.data({
        reader: ENTITY.publicationsReader,
        writer: ENTITY.publicationsWriter,
        sequence: 2,
        ...writeKey(PID.endpointGuid, guidOf(one.prefix, 0x103)),
      }),
    );
    assert.ok(own.engine.hasWriter(guidOf(one.prefix, 0x103)));
    one.unpublish(0x103);
    assert.ok(!own.engine.hasWriter(guidOf(one.prefix, 0x103)));
  });

  test("peers that do not acknowledge our readers are reminded, ever more rarely; whoever asks is answered", () => {
    const own = world();
    own.subscribe(LATCHED);
    const peer = peerOf(own, "a");
    peer.announce(60_000);
    own.sent.length = 0;
    own.pass(20_000);
    const reminders = own.sent.filter(({ submessages: [first] }) => first?.kind === "heartbeat").length;
    assert.ok(reminders >= 4 && reminders <= 10, `${reminders}`);
    const ends = { reader: ENTITY.subscriptionsReader, writer: ENTITY.subscriptionsWriter };
    own.sent.length = 0;
    peer.say((message) => message.acknowledgement(ends, { base: 1, members: [1] }, 1, false));
    assert.equal(lastOf(own, "data")?.writer, ENTITY.subscriptionsWriter);
    peer.say((message) => message.acknowledgement(ends, { base: 2, members: [] }, 2, true));
    own.sent.length = 0;
    own.pass(10_000);
    assert.ok(!own.sent.some(({ submessages: [first] }) => first?.kind === "heartbeat"));
    // It forgot us and begins again.
    peer.say((message) => message.acknowledgement(ends, { base: 1, members: [] }, 1, false));
    own.pass(300);
    assert.ok(own.sent.some(({ submessages: [first] }) => first?.kind === "heartbeat"));
  });

  test("leaving says goodbye to the group and to every peer, and publishes nothing else ever", () => {
    const own = world();
    own.subscribe("latched");
    peerOf(own, "a").announce();
    own.pass(1_000);
    own.engine.leave();
    const ends = own.sent.filter(({ submessages: [first] }) => first?.kind === "data" && first.change === "ended");
    assert.ok(ends.some(({ to }) => to.host === "239.255.0.1"));
    assert.ok(ends.some(({ to }) => to.port === 5_001));
    const builtin: readonly number[] = [ENTITY.participantWriter, ENTITY.subscriptionsWriter];
    for (const { submessages } of own.sent)
      for (const one of submessages)
        assert.ok((one.kind !== "data" && one.kind !== "fragment") || builtin.includes(one.writer));
  });
});

describe("quality of service", () => {
  test("adaptive: every writer is heard once, through the reader that asks it for the most", () => {
    const own = world();
    const { samples } = own.subscribe("adaptive");
    const peer = peerOf(own, "a");
    peer.announce();
    const offers = [BEST_EFFORT, RELIABLE, LATCHED];
    for (const [index, qos] of offers.entries()) peer.publish(0x103 + index * 0x100, qos);
    const announced = own.sent.flatMap(({ submessages }) =>
      submessages.filter((one) => one.kind === "data" && one.writer === ENTITY.subscriptionsWriter),
    );
    assert.equal(announced.length, 3);
    for (const reader of [0x104, 0x204, 0x304]) peer.data(0x103, 1, reader);
    assert.equal(samples.length, 1);
    const latched = { reader: 0x304, writer: 0x303 };
    peer.data(0x303, 4, 0x304);
    peer.say((message) => message.heartbeat({ ...latched, first: 4, last: 4, count: 1 }));
    assert.equal(samples.length, 2);
  });

  test("a publisher that offers too little is listed with the reason and not heard", () => {
    const own = world();
    const { subscription, samples } = own.subscribe("latched");
    const peer = peerOf(own, "a");
    peer.announce();
    peer.publish(0x103, BEST_EFFORT);
    peer.publish(0x203, LATCHED, "other::msg::dds_::Type_");
    peer.data(0x103, 1);
    peer.data(0x203, 1);
    assert.deepEqual(samples, []);
    assert.deepEqual(subscription.incompatibleWith(guidOf(peer.prefix, 0x103)), ["reliability", "durability"]);
    assert.deepEqual(subscription.incompatibleWith(guidOf(peer.prefix, 0x203)), ["type"]);
    const { publishers, matched, incompatible } = statisticsOf(own.engine, "/odom", { nowMs: 0, windowMs: 1 });
    assert.deepEqual([publishers, matched, incompatible], [2, 0, ["reliability", "durability", "type"]]);
  });

  test("a latched writer is asked at once, and again while it is silent", () => {
    const own = world();
    own.subscribe("latched");
    const peer = peerOf(own, "a");
    peer.announce();
    peer.publish(0x103, LATCHED);
    const asked = () =>
      own.sent.filter(({ submessages: [one] }) => one?.kind === "acknowledgement" && one.writer === 0x103);
    assert.equal(asked().length, 1);
    assert.equal(asked()[0]?.to.port, 5_002);
    own.pass(2_000);
    assert.ok(asked().length >= 3);
  });

  test("what is missing is asked for again while the writer is silent, ever more rarely, until it comes", () => {
    const own = world();
    const { samples } = own.subscribe("latched");
    const peer = peerOf(own, "a");
    peer.announce(60_000);
    peer.publish(0x103, LATCHED);
    own.seen.nowMs += 10;
    peer.say((message) => message.heartbeat({ reader: 0x104, writer: 0x103, first: 1, last: 1, count: 1 }));
    own.sent.length = 0;
    const asked = () =>
      own.sent.filter(
        ({ submessages: [one] }) => one?.kind === "acknowledgement" && one.writer === 0x103 && one.set.members[0] === 1,
      ).length;
    own.pass(10_000);
    const before = asked();
    assert.ok(before >= 4 && before <= 8, `${before}`);
    peer.data(0x103, 1, 0x104);
    own.pass(10_000);
    assert.equal(asked(), before);
    assert.deepEqual(sequences(samples), [1]);
  });

  test("what is missing is asked for, whole or in fragments, and a heartbeat is answered once", () => {
    const own = world();
    const { samples } = own.subscribe("latched");
    const peer = peerOf(own, "a");
    peer.announce();
    peer.publish(0x103, LATCHED);
    const ends = { reader: 0x104, writer: 0x103 };
    const part = {
      ...ends,
      sequence: 2,
      count: 1,
      fragmentBytes: 1_000,
      sampleBytes: 2_000,
      payload: new Uint8Array(1_000),
    };
    peer.say((message) => message.fragment({ ...part, first: 2 }));
    own.seen.nowMs += 10;
    own.sent.length = 0;
    for (let repeat = 0; repeat < 2; repeat++)
      peer.say((message) => message.heartbeat({ ...ends, first: 1, last: 3, count: 1 }));
    assert.equal(own.sent.length, 1);
    const answered = lastOf(own, "acknowledgement");
    assert.deepEqual(answered?.kind === "acknowledgement" && answered.set, { base: 1, members: [1, 3] });
    const request = lastOf(own, "fragment-request");
    assert.deepEqual(request?.kind === "fragment-request" && request.set, { base: 1, members: [1] });
    peer.say((message) => message.fragment({ ...part, first: 1 }));
    for (const sequence of [3, 1]) peer.data(0x103, sequence, 0x104);
    assert.deepEqual(sequences(samples), [1, 2, 3]);
    assert.equal(samples[1]?.payload.length, 2_000);
  });
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { writeKey } from "./discovery/announcements.ts";
import { Engine } from "./engine.ts";
import { LIMITS } from "./limits.ts";
import type { Qos, Sample, SubscriptionQos } from "./model.ts";
import type { Address } from "./network.ts";
import { statisticsOf } from "./ros/graph.ts";
import { bytesOf, ENTITY, guidOf } from "./wire/identifiers.ts";
import { durationValue, locatorValue, PID, textValue } from "./wire/parameters.ts";
import { readMessage, type Submessage } from "./wire/read-message.ts";
import { buildMessage, parameterList, type MessageBuilder } from "./wire/write-message.ts";

const OWN = "01fe".padEnd(24, "0");
const ADDRESS = { host: "127.0.0.1", port: 4_000 };
const TOPIC = "rt/odom";
const TYPE = "nav_msgs::msg::dds_::Odometry_";
const BEST_EFFORT: Qos = { reliability: "best-effort", durability: "volatile" };
const RELIABLE: Qos = { reliability: "reliable", durability: "volatile" };
const LATCHED: Qos = { reliability: "reliable", durability: "transient-local" };

interface Sent {
  readonly to: Address;
  readonly submessages: readonly Submessage[];
}

/** An engine with its time, what it sent, and what changed. */
function world(address: Address = ADDRESS) {
  const sent: Sent[] = [];
  const seen = { changes: 0, faults: 0, nowMs: 1_000 };
  const engine = new Engine({
    prefix: OWN,
    address,
    announceTo: [{ host: "239.255.0.1", port: 7_400 }],
    send: (bytes, to) => {
      const destination = Buffer.from(bytes.subarray(24, 36)).toString("hex");
      sent.push({ to, submessages: readMessage(bytes, destination)?.submessages ?? [] });
    },
    onChange: () => void seen.changes++,
    onFault: () => void seen.faults++,
  });
  const subscribe = (qos: SubscriptionQos, onSample: (sample: Sample) => void = () => {}) => {
    const samples: Sample[] = [];
    const take = (sample: Sample) => {
      samples.push(sample);
      onSample(sample);
    };
    const subscription = engine.subscribe({ topic: TOPIC, type: TYPE, qos, onSample: take }, seen.nowMs);
    return { subscription, samples };
  };
  const pass = (ms: number) => {
    for (const end = seen.nowMs + ms; seen.nowMs < end;) engine.tick((seen.nowMs += 100));
  };
  return { engine, sent, seen, subscribe, pass };
}

type World = ReturnType<typeof world>;

/** A peer of ours: what it says is written with our own writer of messages, in either byte order. */
function peerOf({ engine, seen }: World, digit: string, littleEndian = true) {
  const prefix = "0110".padEnd(24, digit);
  const from = { host: "127.0.0.1", port: 5_000 };
  const say = (build: (message: MessageBuilder) => MessageBuilder) =>
    engine.receive(build(buildMessage(prefix, littleEndian).destination(OWN)).bytes(), from, seen.nowMs);
  let published = 0;
  const publications = { reader: ENTITY.publicationsReader, writer: ENTITY.publicationsWriter };
  const participants = { reader: 0, writer: ENTITY.participantWriter };
  return {
    prefix,
    say,
    announce: (leaseMs = 10_000) => {
      const payload = parameterList(
        [
          [PID.participantGuid, (writer) => writer.raw(bytesOf(guidOf(prefix, ENTITY.participant)))],
          [PID.metatrafficUnicastLocator, locatorValue({ host: "127.0.0.1", port: 5_001 })],
          [PID.defaultUnicastLocator, locatorValue({ host: "127.0.0.1", port: 5_002 })],
          [PID.leaseDuration, durationValue(leaseMs)],
        ],
        littleEndian,
      );
      say((message) => message.data({ ...participants, sequence: 1, payload }));
    },
    leave: () =>
      say((message) =>
        message.data({
          ...participants,
          sequence: 2,
          ...writeKey(PID.participantGuid, guidOf(prefix, ENTITY.participant)),
        }),
      ),
    /** Announces a writer and that there are no others. */
    publish: (entity: number, qos: Qos, type = TYPE, topic = TOPIC) => {
      const payload = parameterList(
        [
          [PID.endpointGuid, (writer) => writer.raw(bytesOf(guidOf(prefix, entity)))],
          [PID.topicName, textValue(topic)],
          [PID.typeName, textValue(type)],
          [
            PID.reliability,
            (writer) =>
              writer
                .u32(qos.reliability === "reliable" ? 2 : 1)
                .i32(0)
                .u32(0),
          ],
          [PID.durability, (writer) => writer.u32(qos.durability === "volatile" ? 0 : 1)],
        ],
        littleEndian,
      );
      published++;
      say((message) =>
        message
          .data({ ...publications, sequence: published, payload })
          .heartbeat({ ...publications, first: 1, last: published, count: published }),
      );
    },
    unpublish: (entity: number) => {
      published++;
      const key = writeKey(PID.endpointGuid, guidOf(prefix, entity));
      say((message) => message.data({ ...publications, sequence: published, ...key }));
    },
    data: (entity: number, sequence: number, reader = 0) =>
      say((message) =>
        message.data({ reader, writer: entity, sequence, payload: Uint8Array.of(0, 1, 0, 0, sequence) }),
      ),
  };
}

function lastOf({ sent }: World, kind: Submessage["kind"]) {
  return sent.flatMap(({ submessages }) => submessages).findLast((one) => one.kind === kind);
}

const sequences = (samples: readonly Sample[]) => samples.map(({ sequence }) => sequence);

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

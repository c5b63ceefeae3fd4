import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LIMITS } from "../limits.ts";
import type { Qos } from "../model.ts";
import { ENTITY, bytesOf, guidOf } from "../wire/identifiers.ts";
import { durationValue, locatorValue, PID, textValue, type ParameterValue } from "../wire/parameters.ts";
import { readMessage } from "../wire/read-message.ts";
import { parameterList } from "../wire/write-message.ts";
import { endedGuid, readParticipant, readWriter, writeKey, writeParticipant } from "./announcements.ts";
import { OwnReaders } from "./own-readers.ts";
import { incompatibilities, type Offer } from "./qos.ts";
import { reachedAt } from "./remote-participant.ts";

const PREFIX = "0110".padEnd(24, "0b");
const GUID = guidOf(PREFIX, 0x203);
const guidValue: ParameterValue = (writer) => writer.raw(bytesOf(GUID));

const writerList = (littleEndian: boolean, ...more: readonly (readonly [number, ParameterValue])[]) =>
  parameterList(
    [[PID.endpointGuid, guidValue], [PID.topicName, textValue("rt/odom")], [PID.typeName, textValue("T")], ...more],
    littleEndian,
  );

describe("announcements", () => {
  for (const littleEndian of [true, false])
    test(`a writer, ${littleEndian ? "little" : "big"}-endian`, () => {
      const payload = writerList(
        littleEndian,
        [PID.reliability, (writer) => writer.u32(1).i32(0).u32(0)],
        [PID.durability, (writer) => writer.u32(1)],
        [PID.ownership, (writer) => writer.u32(1)],
        [PID.partition, (writer) => writer.u32(1).u32(2).raw(Buffer.from("a\0"))],
        [PID.dataRepresentation, (writer) => writer.u32(1).u16(2)],
        [0x8007, (writer) => writer.u32(0xffff_ffff)],
      );
      assert.deepEqual(readWriter(payload), {
        guid: GUID,
        topic: "rt/odom",
        type: "T",
        offer: {
          reliable: false,
          transientLocal: true,
          exclusiveOwnership: true,
          partitions: ["a"],
          representations: [2],
        },
      });
    });

  test("a writer that says nothing of its quality is reliable and volatile", () => {
    const { offer } = readWriter(writerList(true)) ?? {};
    assert.deepEqual([offer?.reliable, offer?.transientLocal], [true, false]);
  });

  const refused: readonly (readonly [string, Uint8Array])[] = [
    ["without a topic", parameterList([[PID.endpointGuid, guidValue]])],
    ["a name that is too long", writerList(true, [PID.topicName, textValue("x".repeat(256))])],
    ["a name with control characters", writerList(true, [PID.topicName, textValue("a\nb")])],
    ["without an end", writerList(true).slice(0, -4)],
    ["plain CDR", writerList(true).with(1, 1)],
    ["too many partitions", writerList(true, [PID.partition, (writer) => writer.u32(LIMITS.partitionsMax + 1)])],
    ["a parameter without its value", writerList(true, [PID.durability, () => {}])],
    [
      "a list that never ends",
      parameterList(Array.from({ length: 300 }, () => [PID.endpointGuid, guidValue] as const)),
    ],
  ];
  for (const [name, payload] of refused) test(`refused: ${name}`, () => assert.equal(readWriter(payload), undefined));

  test("our own participant is read back; the lease is kept within limits", () => {
    const address = { host: "127.0.0.1", port: 1_234 };
    const own = readParticipant(writeParticipant({ prefix: PREFIX, leaseMs: 20_000, address }));
    assert.deepEqual(own, {
      guid: guidOf(PREFIX, ENTITY.participant),
      leaseMs: 20_000,
      metatraffic: [address],
      userTraffic: [address],
    });
    const leaseOf = (value: ParameterValue) =>
      readParticipant(
        parameterList([
          [PID.participantGuid, guidValue],
          [PID.leaseDuration, value],
        ]),
      )?.leaseMs;
    assert.equal(
      leaseOf((writer) => writer.u32(0x7fffffff).u32(0xffffffff)),
      LIMITS.leaseMsMax,
    );
    assert.equal(leaseOf(durationValue(0)), LIMITS.leaseMsMin);
    assert.equal(leaseOf(durationValue(2_500)), 2_500);
  });

  test("locators of shared memory, TCP and IPv6 are passed over, and so are impossible ports", () => {
    const locator = (kind: number, port: number): ParameterValue => {
      return (writer) =>
        writer
          .i32(kind)
          .u32(port)
          .raw(new Uint8Array(12))
          .raw(Uint8Array.of(127, 0, 0, 1));
    };
    const payload = parameterList([
      [PID.participantGuid, guidValue],
      ...([16, 2, 4, 8] as const).map((kind) => [PID.metatrafficUnicastLocator, locator(kind, 7410)] as const),
      [PID.metatrafficUnicastLocator, locator(1, 70_000)],
      [PID.metatrafficUnicastLocator, locatorValue({ host: "10.0.0.1", port: 7410 })],
    ]);
    assert.deepEqual(readParticipant(payload)?.metatraffic, [{ host: "10.0.0.1", port: 7410 }]);
  });

  test("an end is named by its key hash or its key", () => {
    const { payload, endOf } = writeKey(PID.endpointGuid, GUID);
    assert.equal(endedGuid(payload, undefined, PID.endpointGuid), GUID);
    assert.equal(endedGuid(undefined, endOf, PID.endpointGuid), GUID);
    assert.equal(endedGuid(undefined, undefined, PID.endpointGuid), undefined);
  });
});

describe("quality of service", () => {
  const plain: Offer = {
    reliable: true,
    transientLocal: true,
    exclusiveOwnership: false,
    partitions: [],
    representations: [],
  };
  const latched: Qos = { reliability: "reliable", durability: "transient-local" };
  const weakest: Qos = { reliability: "best-effort", durability: "volatile" };
  const cases: readonly (readonly [string, Partial<Offer>, Qos, readonly string[]])[] = [
    ["more than asked", {}, weakest, []],
    ["as asked", {}, latched, []],
    ["best effort for reliable", { reliable: false }, latched, ["reliability"]],
    ["volatile for latched", { transientLocal: false }, latched, ["durability"]],
    ["neither", { reliable: false, transientLocal: false }, latched, ["reliability", "durability"]],
    ["exclusive ownership", { exclusiveOwnership: true }, weakest, ["ownership"]],
    ["another partition", { partitions: ["a"] }, weakest, ["partition"]],
    ["every partition", { partitions: ["a", "*"] }, weakest, []],
    ["XCDR2 only", { representations: [2] }, weakest, ["data-representation"]],
    ["XCDR1 first", { representations: [0, 2] }, weakest, []],
  ];
  for (const [name, offer, asked, policies] of cases)
    test(name, () => assert.deepEqual(incompatibilities({ ...plain, ...offer }, asked), policies));
});

describe("where a peer is reached", () => {
  const at = (...hosts: readonly string[]) => ({
    metatraffic: hosts.map((host) => ({ host, port: 7_410 })),
    userTraffic: [],
  });
  const cases: readonly (readonly [string, readonly string[], string, boolean, string])[] = [
    ["where its datagram came from", ["10.0.0.1", "10.0.0.2"], "10.0.0.2", false, "10.0.0.2"],
    ["its first address otherwise", ["10.0.0.1"], "10.0.0.9", false, "10.0.0.1"],
    ["never outside of the loopback", ["192.0.2.1"], "127.0.0.1", true, "127.0.0.1"],
    ["the loopback among others", ["192.0.2.1", "127.0.0.1"], "127.0.0.2", true, "127.0.0.1"],
    ["no group, which would multiply what we send", ["239.255.0.1"], "10.0.0.2", false, "10.0.0.2"],
  ];
  for (const [name, announced, from, loopbackOnly, host] of cases)
    test(name, () => {
      const { address, userAddress } = reachedAt(at(...announced), { host: from, port: 9 }, loopbackOnly);
      assert.equal(address.host, host);
      assert.deepEqual(userAddress, address);
    });
});

describe("our readers", () => {
  const reader = (entity: number) => ({
    guid: guidOf(PREFIX, entity),
    topic: "rt/x",
    type: "T",
    qos: { reliability: "reliable", durability: "volatile" } as const,
  });
  const kinds = (datagrams: readonly Uint8Array[]) =>
    datagrams.flatMap((datagram) => readMessage(datagram, "aa".repeat(12))?.submessages ?? []);

  test("a late peer gets what is still true, the rest as gaps, and how far it goes", () => {
    const own = new OwnReaders(PREFIX);
    for (const entity of [0x104, 0x204, 0x304]) own.add(reader(entity));
    own.end(guidOf(PREFIX, 0x204));
    const told = kinds(own.from("aa".repeat(12), 1));
    assert.deepEqual(
      told.map((one) => [one.kind, "sequence" in one ? one.sequence : "start" in one ? one.start : one]),
      [
        ["data", 1],
        ["gap", 2],
        ["data", 3],
        ["data", 4],
        ["heartbeat", told.at(-1)],
      ],
    );
    const last = told.at(-1);
    assert.ok(last?.kind === "heartbeat" && last.first === 1 && last.last === 4);
  });

  test("what is asked for again is sent again, what never was is not", () => {
    const own = new OwnReaders(PREFIX);
    own.add(reader(0x104));
    assert.deepEqual(
      kinds(own.answer("aa".repeat(12), { base: 1, members: [1, 2, 99] })).map(({ kind }) => kind),
      ["data", "heartbeat"],
    );
    assert.deepEqual(own.answer("aa".repeat(12), { base: 2, members: [] }), []);
  });

  test("subscribing and leaving a thousand times keeps little", () => {
    const own = new OwnReaders(PREFIX);
    for (let index = 1; index <= 1_000; index++) {
      own.add(reader(index));
      own.end(guidOf(PREFIX, index));
    }
    const told = kinds(own.from("aa".repeat(12), 1_990));
    assert.ok(told.length < 20);
    assert.ok(own.from("aa".repeat(12), 1).every((datagram) => datagram.length < 1_600));
  });
});

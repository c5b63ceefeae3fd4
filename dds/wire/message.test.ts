import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { endedGuid, readParticipant, readWriter } from "../discovery/announcements.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import { bytesOf, ENTITY, guidOf } from "./identifiers.ts";
import { readSequenceSet, writeSequenceSet } from "./number-set.ts";
import { PID } from "./parameters.ts";
import { readMessage, type Submessage } from "./read-message.ts";
import { buildMessage } from "./write-message.ts";

const OWN = "01fe".padEnd(24, "0a");
const PEER = "0110".padEnd(24, "0b");
const ENDS = { reader: 0x104, writer: 0x203 } as const;

/** Datagrams as the two vendors sent them to a subscriber of the same prefix. */
function captured(vendor: string): { ownPrefix: string; datagrams: readonly Uint8Array[] } {
  const text = readFileSync(join(import.meta.dirname, "..", "vectors", `${vendor}.json`), "utf8");
  const { ownPrefix, datagrams }: { ownPrefix: string; datagrams: readonly string[] } = JSON.parse(text);
  return { ownPrefix, datagrams: datagrams.map(bytesOf) };
}

describe("messages", () => {
  for (const littleEndian of [true, false])
    test(`every submessage, ${littleEndian ? "little" : "big"}-endian`, () => {
      const payload = Uint8Array.of(1, 2, 3, 4);
      const datagram = buildMessage(PEER, littleEndian)
        .destination(OWN)
        .timestamp(1_700_000_000_500)
        .data({ ...ENDS, sequence: 2 ** 33 + 1, payload })
        .data({ ...ENDS, sequence: 3, payload, endOf: bytesOf(guidOf(PEER, 0x203)) })
        .fragment({ ...ENDS, sequence: 4, first: 2, count: 1, fragmentBytes: 4, sampleBytes: 9, payload })
        .heartbeat({ ...ENDS, first: 1, last: 4, count: 7, final: true })
        .heartbeatFragment(ENDS, 4, 3, 8)
        .acknowledgement(ENDS, { base: 3, members: [3, 5, 40] }, 9, false)
        .fragmentRequest(ENDS, 4, { base: 1, members: [1, 3] }, 10)
        .gap(ENDS, 2, { base: 5, members: [6] })
        .bytes();
      const sourceTimestampMs = 1_700_000_000_500;
      const keyHash = bytesOf(guidOf(PEER, 0x203));
      const submessages: readonly Submessage[] = [
        {
          kind: "data",
          ...ENDS,
          sequence: 2 ** 33 + 1,
          change: "alive",
          payload,
          keyHash: undefined,
          sourceTimestampMs,
        },
        { kind: "data", ...ENDS, sequence: 3, change: "ended", payload, keyHash, sourceTimestampMs },
        {
          kind: "fragment",
          ...ENDS,
          sequence: 4,
          first: 2,
          count: 1,
          fragmentBytes: 4,
          sampleBytes: 9,
          payload,
          sourceTimestampMs,
        },
        { kind: "heartbeat", ...ENDS, first: 1, last: 4, count: 7, final: true },
        { kind: "heartbeat-fragment", ...ENDS, sequence: 4, last: 3 },
        { kind: "acknowledgement", ...ENDS, set: { base: 3, members: [3, 5, 40] }, count: 9 },
        { kind: "fragment-request", ...ENDS, sequence: 4, set: { base: 1, members: [1, 3] } },
        { kind: "gap", ...ENDS, start: 2, set: { base: 5, members: [6] } },
      ];
      assert.deepEqual(readMessage(datagram, OWN), { prefix: PEER, vendor: 0x01fe, submessages, malformed: false });
    });

  test("what is for others is left out", () => {
    const datagram = buildMessage(PEER)
      .destination("99".repeat(12))
      .heartbeat({ ...ENDS, first: 1, last: 0, count: 1 })
      .destination("00".repeat(12))
      .heartbeat({ ...ENDS, first: 1, last: 0, count: 2 })
      .bytes();
    assert.deepEqual(
      readMessage(datagram, OWN)?.submessages.map((one) => one.kind === "heartbeat" && one.count),
      [2],
    );
  });

  test("what came before the damage counts, and the damage is told", () => {
    const datagram = buildMessage(PEER)
      .heartbeat({ ...ENDS, first: 1, last: 0, count: 1 })
      .heartbeat({ ...ENDS, first: 9, last: 2, count: 2 })
      .heartbeat({ ...ENDS, first: 1, last: 0, count: 3 })
      .bytes();
    const message = readMessage(datagram, OWN);
    assert.equal(message?.submessages.length, 1);
    assert.equal(message.malformed, true);
  });

  test("nobody speaks for somebody else", () => {
    const infoSource = Uint8Array.of(0x0c, 1, 20, 0, ...new Uint8Array(20));
    const datagram = Buffer.concat([
      buildMessage(PEER).bytes(),
      infoSource,
      buildMessage(PEER)
        .heartbeat({ ...ENDS, first: 1, last: 0, count: 1 })
        .bytes()
        .subarray(20),
    ]);
    assert.deepEqual(readMessage(datagram, OWN)?.submessages, []);
  });

  test("a datagram of tiny submessages is not read to its end", () => {
    const pads = new Uint8Array(60_000).map((_, index) => (index % 4 === 0 ? 1 : 0));
    const message = readMessage(Buffer.concat([buildMessage(PEER).bytes(), pads]), OWN);
    assert.equal(message?.malformed, true);
  });

  test("other protocols and versions are nothing", () => {
    const good = buildMessage(PEER).bytes();
    assert.ok(readMessage(good, OWN));
    assert.equal(readMessage(new Uint8Array(0), OWN), undefined);
    assert.equal(readMessage(Buffer.from("GET / HTTP/1.1\r\n\r\n"), OWN), undefined);
    assert.equal(readMessage(good.subarray(0, 19), OWN), undefined);
    assert.equal(readMessage(good.with(4, 1), OWN), undefined);
  });

  for (const vendor of ["cyclone-dds", "fast-dds"])
    test(`${vendor}: what was captured is read whole`, () => {
      const { ownPrefix, datagrams } = captured(vendor);
      const submessages = datagrams.flatMap((datagram) => {
        const message = readMessage(datagram, ownPrefix);
        assert.equal(message?.malformed, false);
        return message?.submessages ?? [];
      });
      const dataOf = (writer: number) =>
        submessages.flatMap((one) =>
          one.kind === "data" && one.writer === writer && one.change === "alive" && one.payload ? [one.payload] : [],
        );
      const [participant] = dataOf(ENTITY.participantWriter).map(readParticipant);
      assert.ok(participant?.leaseMs === 10_000 || participant?.leaseMs === 20_000);
      assert.equal(participant.metatraffic[0]?.host, "127.0.0.1");
      const writers = dataOf(ENTITY.publicationsWriter).map(readWriter);
      const mode = writers.find((writer) => writer?.topic === "rt/vehicle/status/control_mode");
      assert.equal(mode?.type, "autoware_vehicle_msgs::msg::dds_::ControlModeReport_");
      assert.deepEqual([mode.offer.reliable, mode.offer.transientLocal], [true, true]);
      const battery = writers.find((writer) => writer?.topic === "rt/battery_state");
      assert.deepEqual([battery?.offer.reliable, battery?.offer.transientLocal], [false, false]);
      const ended = submessages.flatMap((one) =>
        one.kind === "data" && one.change === "ended" && one.writer === ENTITY.publicationsWriter
          ? [endedGuid(one.payload, one.keyHash, PID.endpointGuid)]
          : [],
      );
      assert.ok(ended.includes(mode.guid));
    });

  test("hostile bytes: captured datagrams with any bytes changed, cut, or made up never throw", () => {
    const all = ["cyclone-dds", "fast-dds"].flatMap((vendor) => captured(vendor).datagrams);
    const changes = fc.array(fc.tuple(fc.nat(2_000), fc.integer({ min: 0, max: 255 })), { maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(all.length - 1), changes, fc.nat(2_000), (pick, edits, length) => {
        const bytes = Uint8Array.from(all[pick] ?? []).subarray(0, length + 20);
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        readMessage(bytes, OWN);
        readParticipant(bytes);
        readWriter(bytes);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readMessage(Buffer.concat([buildMessage(PEER).bytes(), bytes]), OWN);
        readWriter(Uint8Array.from([0, 3, 0, 0, ...bytes]));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("numbers", () => {
  test("sets come back as they were, in both byte orders", () => {
    fc.assert(
      fc.property(
        fc.nat(1_000_000),
        fc.uniqueArray(fc.nat(255), { maxLength: 40 }),
        fc.boolean(),
        (base, offsets, littleEndian) => {
          const members = offsets.toSorted((a, b) => a - b).map((offset) => base + offset);
          const writer = new ByteWriter(littleEndian);
          writeSequenceSet(writer, { base, members });
          assert.deepEqual(readSequenceSet(new ByteReader(writer.bytesWritten(), littleEndian)), { base, members });
        },
      ),
    );
  });

  test("a set of more than 256 fails, and so do numbers that no writer reaches", () => {
    const tooMany = new ByteReader(new ByteWriter().sequence(1).u32(257).raw(new Uint8Array(64)).bytesWritten(), true);
    readSequenceSet(tooMany);
    assert.equal(tooMany.failed, true);
    for (const high of [-1, 2 ** 30]) {
      const reader = new ByteReader(new ByteWriter().i32(high).u32(0).bytesWritten(), true);
      assert.equal(reader.sequence(), 0);
      assert.equal(reader.failed, true);
    }
  });
});

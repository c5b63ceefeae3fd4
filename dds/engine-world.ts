import { writeKey } from "./discovery/announcements.ts";
import { Engine } from "./engine.ts";
import type { Qos, Sample, SubscriptionQos } from "./model.ts";
import type { Address } from "./network.ts";
import { bytesOf, ENTITY, guidOf } from "./wire/identifiers.ts";
import { durationValue, locatorValue, PID, textValue } from "./wire/parameters.ts";
import { readMessage, type Submessage } from "./wire/read-message.ts";
import { buildMessage, parameterList, type MessageBuilder } from "./wire/write-message.ts";

/* What tests of the engine share: an engine with its time, and peers whose every datagram is written by the test. */

export const OWN = "01fe".padEnd(24, "0");
export const ADDRESS = { host: "127.0.0.1", port: 4_000 };
export const TOPIC = "rt/odom";
export const TYPE = "nav_msgs::msg::dds_::Odometry_";
export const BEST_EFFORT: Qos = { reliability: "best-effort", durability: "volatile" };
export const RELIABLE: Qos = { reliability: "reliable", durability: "volatile" };
export const LATCHED: Qos = { reliability: "reliable", durability: "transient-local" };

interface Sent {
  readonly to: Address;
  readonly submessages: readonly Submessage[];
}

/** An engine with its time, what it sent, and what changed. */
export function world(address: Address = ADDRESS) {
  const sent: Sent[] = [];
  const seen = { changes: 0, faults: 0, nowMs: 1_000 };
  const engine = new Engine({
    prefix: OWN,
    address,
    leaseMs: 20_000,
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

export type World = ReturnType<typeof world>;

/** A peer of ours: what it says is written with our own writer of messages, in either byte order. */
export function peerOf({ engine, seen }: World, digit: string, littleEndian = true) {
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

export function lastOf({ sent }: World, kind: Submessage["kind"]) {
  return sent.flatMap(({ submessages }) => submessages).findLast((one) => one.kind === kind);
}

export const sequences = (samples: readonly Sample[]) => samples.map(({ sequence }) => sequence);

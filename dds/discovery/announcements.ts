import { LIMITS } from "../limits.ts";
import type { Qos } from "../model.ts";
import type { Address } from "../network.ts";
import { ByteReader } from "../wire/bytes.ts";
import { bytesOf, ENTITY, GUID_BYTES, guidOf, hexOf } from "../wire/identifiers.ts";
import {
  durationValue,
  locatorValue,
  PID,
  readDurationMs,
  readLocator,
  readParameters,
  readText,
  textValue,
} from "../wire/parameters.ts";
import { parameterList, PROTOCOL_VERSION, vendorValue } from "../wire/write-message.ts";
import type { Offer } from "./qos.ts";

/** What a participant says of itself. */
export interface ParticipantAnnouncement {
  readonly guid: string;
  readonly leaseMs: number;
  /** Where discovery and where user traffic is received; UDPv4 only, in its order. */
  readonly metatraffic: readonly Address[];
  readonly userTraffic: readonly Address[];
}

/** What a participant says of one of its writers. */
export interface WriterAnnouncement {
  readonly guid: string;
  readonly topic: string;
  readonly type: string;
  readonly offer: Offer;
}

/** The lease of a participant that names none (OMG DDSI-RTPS 2.5, table 9.14). */
const LEASE_MS_DEFAULT = 100_000;

/** The announcement in a payload of the participants' topic; undefined when it is malformed. */
export function readParticipant(payload: Uint8Array): ParticipantAnnouncement | undefined {
  let guid: string | undefined;
  let leaseMs = LEASE_MS_DEFAULT;
  const metatraffic: Address[] = [];
  const userTraffic: Address[] = [];
  const whole = readList(payload, (id, value) => {
    switch (id) {
      case PID.participantGuid:
        guid = readGuid(value);
        return;
      case PID.leaseDuration:
        leaseMs = readDurationMs(value);
        return;
      case PID.metatrafficUnicastLocator:
        addLocator(metatraffic, value);
        return;
      case PID.defaultUnicastLocator:
        addLocator(userTraffic, value);
        return;
    }
  });
  if (!whole || guid === undefined || Number.isNaN(leaseMs)) return undefined;
  leaseMs = Math.min(LIMITS.leaseMsMax, Math.max(LIMITS.leaseMsMin, leaseMs));
  return { guid, leaseMs, metatraffic, userTraffic };
}

/** The announcement in a payload of the publications' topic; undefined when it is malformed or a name is too long. */
export function readWriter(payload: Uint8Array): WriterAnnouncement | undefined {
  const found: { guid?: string | undefined; topic?: string | undefined; type?: string | undefined } = {};
  // Defaults of a writer (OMG DDSI-RTPS 2.5, table 9.14 and DDS 1.4, 2.2.3).
  const offer = { reliable: true, transientLocal: false, exclusiveOwnership: false };
  let partitions: readonly string[] | undefined = [];
  let representations: readonly number[] = [];
  const whole = readList(payload, (id, value) => {
    switch (id) {
      case PID.endpointGuid:
        found.guid = readGuid(value);
        return;
      case PID.topicName:
        found.topic = readText(value, LIMITS.topicCharactersMax);
        return;
      case PID.typeName:
        found.type = readText(value, LIMITS.typeCharactersMax);
        return;
      case PID.reliability:
        offer.reliable = value.u32() === RELIABLE;
        return;
      case PID.durability:
        offer.transientLocal = value.u32() >= TRANSIENT_LOCAL;
        return;
      case PID.ownership:
        offer.exclusiveOwnership = value.u32() !== 0;
        return;
      case PID.partition:
        partitions = readPartitions(value);
        return;
      case PID.dataRepresentation:
        representations = readRepresentations(value);
        return;
    }
  });
  const { guid, topic, type } = found;
  if (!whole || guid === undefined || topic === undefined || type === undefined || partitions === undefined)
    return undefined;
  return { guid, topic, type, offer: { ...offer, partitions, representations } };
}

/** The GUID whose instance a payload or key hash says has ended. */
export function endedGuid(
  payload: Uint8Array | undefined,
  keyHash: Uint8Array | undefined,
  parameter: typeof PID.participantGuid | typeof PID.endpointGuid,
): string | undefined {
  if (keyHash !== undefined) return hexOf(keyHash);
  let guid: string | undefined;
  if (payload !== undefined)
    readList(payload, (id, value) => {
      if (id === parameter) guid = readGuid(value);
    });
  return guid;
}

/** What we say of ourselves. */
export function writeParticipant(own: {
  readonly prefix: string;
  readonly leaseMs: number;
  readonly address: Address;
}): Uint8Array {
  return parameterList([
    [PID.protocolVersion, (writer) => writer.raw(PROTOCOL_VERSION)],
    [PID.vendorId, vendorValue],
    [PID.participantGuid, (writer) => writer.raw(bytesOf(guidOf(own.prefix, ENTITY.participant)))],
    [PID.metatrafficUnicastLocator, locatorValue(own.address)],
    [PID.defaultUnicastLocator, locatorValue(own.address)],
    [PID.leaseDuration, durationValue(own.leaseMs)],
    [PID.builtinEndpoints, (writer) => writer.u32(BUILTIN_ENDPOINTS)],
  ]);
}

/** What we say of one of our readers. */
export function writeReader(reader: {
  readonly guid: string;
  readonly topic: string;
  readonly type: string;
  readonly qos: Qos;
}): Uint8Array {
  const { reliability, durability } = reader.qos;
  return parameterList([
    [PID.protocolVersion, (writer) => writer.raw(PROTOCOL_VERSION)],
    [PID.vendorId, vendorValue],
    [PID.endpointGuid, (writer) => writer.raw(bytesOf(reader.guid))],
    [PID.keyHash, (writer) => writer.raw(bytesOf(reader.guid))],
    [PID.topicName, textValue(reader.topic)],
    [PID.typeName, textValue(reader.type)],
    [
      PID.reliability,
      (writer) =>
        writer
          .u32(reliability === "reliable" ? RELIABLE : BEST_EFFORT)
          .i32(0)
          .u32(0),
    ],
    [PID.durability, (writer) => writer.u32(durability === "transient-local" ? TRANSIENT_LOCAL : 0)],
  ]);
}

/** The key of an ended participant or endpoint of ours. */
export function writeKey(
  parameter: typeof PID.participantGuid | typeof PID.endpointGuid,
  guid: string,
): { readonly payload: Uint8Array; readonly endOf: Uint8Array } {
  return { payload: parameterList([[parameter, (writer) => writer.raw(bytesOf(guid))]]), endOf: bytesOf(guid) };
}

const BEST_EFFORT = 1;
const RELIABLE = 2;
const TRANSIENT_LOCAL = 1;
/** Announces and detects participants, detects publications, announces subscriptions: nobody need tell us of subscriptions. */
const BUILTIN_ENDPOINTS = 0x01 | 0x02 | 0x08 | 0x10;
const PARAMETER_LIST_BIG_ENDIAN = 0x0002;
const PARAMETER_LIST_LITTLE_ENDIAN = 0x0003;

function readList(payload: Uint8Array, onParameter: (id: number, value: ByteReader) => void): boolean {
  const reader = new ByteReader(payload, false);
  const encapsulation = reader.u16();
  reader.u16();
  if (encapsulation !== PARAMETER_LIST_BIG_ENDIAN && encapsulation !== PARAMETER_LIST_LITTLE_ENDIAN) return false;
  reader.littleEndian = encapsulation === PARAMETER_LIST_LITTLE_ENDIAN;
  let sound = true;
  const whole = readParameters(reader, (id, value) => {
    onParameter(id, value);
    if (value.failed) sound = false;
  });
  return whole && sound;
}

function readGuid(value: ByteReader): string {
  return hexOf(value.take(GUID_BYTES));
}

function addLocator(locators: Address[], value: ByteReader): void {
  const locator = readLocator(value);
  if (locator !== undefined && locators.length < LIMITS.locatorsMax) locators.push(locator);
}

function readPartitions(value: ByteReader): readonly string[] | undefined {
  const count = value.u32();
  if (count > LIMITS.partitionsMax) return undefined;
  const names: string[] = [];
  for (let index = 0; index < count; index++) {
    const start = value.at;
    const name = readText(value, LIMITS.topicCharactersMax);
    if (name === undefined) return undefined;
    names.push(name);
    value.skip((4 - ((value.at - start) % 4)) % 4);
  }
  return names;
}

function readRepresentations(value: ByteReader): readonly number[] {
  const count = Math.min(value.u32(), LIMITS.partitionsMax);
  return Array.from({ length: count }, () => value.u16());
}

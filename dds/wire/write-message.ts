import { ByteWriter } from "./bytes.ts";
import { bytesOf, VENDOR } from "./identifiers.ts";
import { writeFragmentSet, writeSequenceSet, type NumberSet } from "./number-set.ts";
import { PID, writeParameter, writeSentinel, type ParameterValue } from "./parameters.ts";

/** Builds one datagram: a header, then submessages. Byte order as the writer's; only tests write big-endian. */
export interface MessageBuilder {
  /** Everything after it is for one participant only. */
  destination(prefix: string): MessageBuilder;
  timestamp(epochMs: number): MessageBuilder;
  data(data: DataToWrite): MessageBuilder;
  fragment(fragment: FragmentToWrite): MessageBuilder;
  heartbeat(heartbeat: HeartbeatToWrite): MessageBuilder;
  heartbeatFragment(ends: Ends, sequence: number, last: number, count: number): MessageBuilder;
  acknowledgement(ends: Ends, set: NumberSet, count: number, final: boolean): MessageBuilder;
  fragmentRequest(ends: Ends, sequence: number, set: NumberSet, count: number): MessageBuilder;
  gap(ends: Ends, start: number, set: NumberSet): MessageBuilder;
  bytes(): Uint8Array;
}

export interface Ends {
  readonly reader: number;
  readonly writer: number;
}

export interface DataToWrite extends Ends {
  readonly sequence: number;
  readonly payload: Uint8Array;
  /** The payload is a key whose instance ends; its hash goes with it. */
  readonly endOf?: Uint8Array;
}

export interface FragmentToWrite extends Ends {
  readonly sequence: number;
  readonly first: number;
  readonly count: number;
  readonly fragmentBytes: number;
  readonly sampleBytes: number;
  readonly payload: Uint8Array;
}

export interface HeartbeatToWrite extends Ends {
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly final?: boolean;
}

export const PROTOCOL_VERSION = Uint8Array.of(2, 2);

export function buildMessage(prefix: string, littleEndian = true): MessageBuilder {
  const message = new ByteWriter(littleEndian);
  message.raw(MAGIC).raw(PROTOCOL_VERSION).raw(vendorBytes).raw(bytesOf(prefix));
  const order = littleEndian ? 1 : 0;
  const submessage = (kind: number, flags: number, write: (body: ByteWriter) => void): MessageBuilder => {
    const body = new ByteWriter(littleEndian);
    write(body);
    body.align(4);
    message
      .u8(kind)
      .u8(flags | order)
      .u16(body.length)
      .raw(body.bytesWritten());
    return builder;
  };
  const ends = (body: ByteWriter, { reader, writer }: Ends) => body.entityId(reader).entityId(writer);
  const builder: MessageBuilder = {
    destination: (to) => submessage(0x0e, 0, (body) => body.raw(bytesOf(to))),
    timestamp: (epochMs) =>
      submessage(0x09, 0, (body) => body.u32(Math.floor(epochMs / 1000)).u32(((epochMs % 1000) / 1000) * 2 ** 32)),
    data: (data) =>
      submessage(0x15, data.endOf === undefined ? 0x04 : 0x0a, (body) => {
        ends(body.u16(0).u16(OCTETS_TO_INLINE_QOS), data).sequence(data.sequence);
        if (data.endOf !== undefined) writeEndOfInstance(body, data.endOf, littleEndian);
        body.raw(data.payload);
      }),
    fragment: (part) =>
      submessage(0x16, 0, (body) => {
        ends(body.u16(0).u16(OCTETS_TO_INLINE_QOS_OF_FRAGMENT), part).sequence(part.sequence);
        body.u32(part.first).u16(part.count).u16(part.fragmentBytes).u32(part.sampleBytes).raw(part.payload);
      }),
    heartbeat: (beat) =>
      submessage(0x07, beat.final === true ? 2 : 0, (body) =>
        ends(body, beat).sequence(beat.first).sequence(beat.last).i32(beat.count),
      ),
    heartbeatFragment: (between, sequence, last, count) =>
      submessage(0x13, 0, (body) => ends(body, between).sequence(sequence).u32(last).i32(count)),
    acknowledgement: (between, set, count, final) =>
      submessage(0x06, final ? 2 : 0, (body) => {
        writeSequenceSet(ends(body, between), set);
        body.i32(count);
      }),
    fragmentRequest: (between, sequence, set, count) =>
      submessage(0x12, 0, (body) => {
        writeFragmentSet(ends(body, between).sequence(sequence), set);
        body.i32(count);
      }),
    gap: (between, start, set) =>
      submessage(0x08, 0, (body) => writeSequenceSet(ends(body, between).sequence(start), set)),
    bytes: () => message.bytesWritten(),
  };
  return builder;
}

/** A parameter list with its encapsulation header, as discovery data has it. */
export function parameterList(
  parameters: readonly (readonly [id: number, value: ParameterValue])[],
  littleEndian = true,
): Uint8Array {
  const writer = new ByteWriter(littleEndian);
  writer
    .u8(0)
    .u8(littleEndian ? 3 : 2)
    .u16(0);
  for (const [id, value] of parameters) writeParameter(writer, new ByteWriter(littleEndian), id, value);
  writeSentinel(writer);
  return writer.bytesWritten();
}

const MAGIC = Uint8Array.of(0x52, 0x54, 0x50, 0x53);
const vendorBytes = Uint8Array.of(VENDOR.ours >> 8, VENDOR.ours & 0xff);
/** From behind the field itself: both entity ids and the sequence number, and for fragments their four fields. */
const OCTETS_TO_INLINE_QOS = 16;
const OCTETS_TO_INLINE_QOS_OF_FRAGMENT = 28;
const DISPOSED_AND_UNREGISTERED = Uint8Array.of(0, 0, 0, 3);

function writeEndOfInstance(body: ByteWriter, key: Uint8Array, littleEndian: boolean): void {
  writeParameter(body, new ByteWriter(littleEndian), PID.keyHash, (value) => value.raw(key));
  writeParameter(body, new ByteWriter(littleEndian), PID.statusInfo, (value) => value.raw(DISPOSED_AND_UNREGISTERED));
  writeSentinel(body);
}

export const vendorValue: ParameterValue = (writer) => writer.raw(vendorBytes);

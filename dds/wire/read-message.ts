import { ByteReader } from "./bytes.ts";
import { hexOf, PREFIX_BYTES } from "./identifiers.ts";
import { readFragmentSet, readSequenceSet, type NumberSet } from "./number-set.ts";
import { PID, readParameters } from "./parameters.ts";

/** What one datagram says to us. `malformed` when it could be read only up to some point. */
export interface Message {
  /** Prefix of the sender's GUIDs. */
  readonly prefix: string;
  readonly vendor: number;
  readonly submessages: readonly Submessage[];
  readonly malformed: boolean;
}

interface Endpoints {
  readonly reader: number;
  readonly writer: number;
}

export type Submessage =
  | (Endpoints & DataSubmessage)
  | (Endpoints & FragmentSubmessage)
  | (Endpoints & HeartbeatSubmessage)
  | (Endpoints & { readonly kind: "heartbeat-fragment"; readonly sequence: number; readonly last: number })
  | (Endpoints & { readonly kind: "acknowledgement"; readonly set: NumberSet; readonly count: number })
  | (Endpoints & { readonly kind: "gap"; readonly start: number; readonly set: NumberSet })
  | (Endpoints & { readonly kind: "fragment-request"; readonly sequence: number; readonly set: NumberSet });

export interface DataSubmessage {
  readonly kind: "data";
  readonly sequence: number;
  readonly change: Change;
  /** Serialized data, or the serialized key when the change is an end; undefined when there is neither. */
  readonly payload: Uint8Array | undefined;
  readonly keyHash: Uint8Array | undefined;
  readonly sourceTimestampMs: number | undefined;
}

/** A part of a sample that is too large for one datagram; fragments count from 1. */
export interface FragmentSubmessage {
  readonly kind: "fragment";
  readonly sequence: number;
  readonly first: number;
  readonly count: number;
  readonly fragmentBytes: number;
  readonly sampleBytes: number;
  readonly payload: Uint8Array;
  readonly sourceTimestampMs: number | undefined;
}

export interface HeartbeatSubmessage {
  readonly kind: "heartbeat";
  readonly first: number;
  /** One less than `first` when the writer has nothing. */
  readonly last: number;
  readonly count: number;
  /** No answer is asked for. */
  readonly final: boolean;
}

/** Whether there is a new value, or the instance (a participant, an endpoint) has ended. */
export type Change = "alive" | "ended";

/**
 * Reads a datagram of RTPS 2.x (OMG DDSI-RTPS 2.5, 8.3 and 9.4) in either byte order and keeps what is for everybody or for
 * `ownPrefix`. Undefined when it is no RTPS at all. Never throws, and its result is never larger than a small multiple of the
 * datagram.
 */
export function readMessage(datagram: Uint8Array, ownPrefix: string): Message | undefined {
  const header = new ByteReader(datagram, false);
  const magic = header.u32();
  const major = header.u8();
  header.u8();
  const vendor = header.u16();
  const prefix = hexOf(header.take(PREFIX_BYTES));
  if (header.failed || magic !== RTPS_MAGIC || major !== PROTOCOL_MAJOR) return undefined;
  const submessages: Submessage[] = [];
  const context: Context = { ownPrefix, forUs: true, sourceTimestampMs: undefined };
  for (let count = 0; header.left > 0; count++) {
    const read = count < SUBMESSAGES_MAX ? readSubmessage(header, context) : "malformed";
    if (read === "malformed") return { prefix, vendor, submessages, malformed: true };
    if (read === "end") break;
    if (read !== "nothing" && context.forUs) submessages.push(read);
  }
  return { prefix, vendor, submessages, malformed: false };
}

const RTPS_MAGIC = 0x52545053;
const PROTOCOL_MAJOR = 2;
const SUBMESSAGES_MAX = 512;

const KIND = {
  pad: 0x01,
  acknowledgement: 0x06,
  heartbeat: 0x07,
  gap: 0x08,
  infoTimestamp: 0x09,
  infoSource: 0x0c,
  infoDestination: 0x0e,
  fragmentRequest: 0x12,
  heartbeatFragment: 0x13,
  data: 0x15,
  fragment: 0x16,
} as const;

/** What earlier submessages of the same message say about later ones. */
interface Context {
  readonly ownPrefix: string;
  forUs: boolean;
  sourceTimestampMs: number | undefined;
}

function readSubmessage(message: ByteReader, context: Context): Submessage | "nothing" | "end" | "malformed" {
  const kind = message.u8();
  const flags = message.u8();
  message.littleEndian = (flags & 1) !== 0;
  let length = message.u16();
  if (message.failed) return "malformed";
  // A length of 0 means up to the end of the message, except for the kinds that may be empty.
  if (length === 0 && kind !== KIND.pad && kind !== KIND.infoTimestamp) length = message.left;
  const body = message.within(message.at + length);
  message.skip(length);
  if (message.failed) return "malformed";
  // Whoever sends on behalf of somebody else is a router, and there is none that a listener could trust.
  if (kind === KIND.infoSource) return "end";
  const read = readBody(kind, flags, body, context);
  return body.failed ? "malformed" : read;
}

function readBody(
  kind: number,
  flags: number,
  body: ByteReader,
  context: Context,
): Submessage | "nothing" | "malformed" {
  switch (kind) {
    case KIND.infoDestination: {
      const destination = hexOf(body.take(PREFIX_BYTES));
      context.forUs = destination === context.ownPrefix || destination === EVERYBODY;
      return "nothing";
    }
    case KIND.infoTimestamp:
      context.sourceTimestampMs = (flags & 2) === 0 ? readTime(body) : undefined;
      return "nothing";
    case KIND.data:
      return context.forUs ? readData(flags, body, context) : "nothing";
    case KIND.fragment:
      return context.forUs ? readFragment(flags, body, context) : "nothing";
    case KIND.heartbeat:
      return readHeartbeat(flags, body);
    case KIND.heartbeatFragment:
      return { kind: "heartbeat-fragment", ...endpoints(body), sequence: body.sequence(), last: body.u32() };
    case KIND.acknowledgement:
      return { kind: "acknowledgement", ...endpoints(body), set: readSequenceSet(body), count: body.i32() };
    case KIND.gap:
      return { kind: "gap", ...endpoints(body), start: body.sequence(), set: readSequenceSet(body) };
    case KIND.fragmentRequest:
      return { kind: "fragment-request", ...endpoints(body), sequence: body.sequence(), set: readFragmentSet(body) };
    default:
      return "nothing";
  }
}

const EVERYBODY = "0".repeat(PREFIX_BYTES * 2);

function endpoints(body: ByteReader): Endpoints {
  return { reader: body.entityId(), writer: body.entityId() };
}

/** Seconds and binary fraction since the Unix epoch. */
function readTime(body: ByteReader): number {
  const seconds = body.u32();
  return seconds * 1000 + (body.u32() / 2 ** 32) * 1000;
}

function readHeartbeat(flags: number, body: ByteReader): Submessage | "malformed" {
  const { reader, writer } = endpoints(body);
  const [first, last, count] = [body.sequence(), body.sequence(), body.i32()];
  if (first < 1 || last < first - 1) return "malformed";
  return { kind: "heartbeat", reader, writer, first, last, count, final: (flags & 2) !== 0 };
}

function readData(flags: number, body: ByteReader, context: Context): Submessage | "malformed" {
  const start = readDataStart(body);
  const inline = (flags & 2) === 0 ? NO_INLINE_QOS : readInlineQos(body, start.inlineQosAt);
  if (inline === undefined || start.sequence < 1) return "malformed";
  if ((flags & 2) === 0) body.skip(start.inlineQosAt - body.at);
  const hasPayload = (flags & 0x0c) !== 0;
  return {
    kind: "data",
    reader: start.reader,
    writer: start.writer,
    sequence: start.sequence,
    // A key without data says that something ended even where the status is left out.
    change: inline.ended || (flags & 0x0c) === 0x08 ? "ended" : "alive",
    payload: hasPayload ? body.take(body.left) : undefined,
    keyHash: inline.keyHash,
    sourceTimestampMs: context.sourceTimestampMs,
  };
}

function readFragment(flags: number, body: ByteReader, context: Context): Submessage | "nothing" | "malformed" {
  const start = readDataStart(body);
  const [first, count, fragmentBytes, sampleBytes] = [body.u32(), body.u16(), body.u16(), body.u32()];
  const inline = (flags & 2) === 0 ? NO_INLINE_QOS : readInlineQos(body, start.inlineQosAt);
  if (inline === undefined || start.sequence < 1 || first < 1 || count < 1 || fragmentBytes < 1) return "malformed";
  if ((flags & 2) === 0) body.skip(start.inlineQosAt - body.at);
  // A serialized key that needs fragments is nothing that a topic without keys sends.
  if ((flags & 4) !== 0 || inline.ended) return "nothing";
  return {
    kind: "fragment",
    reader: start.reader,
    writer: start.writer,
    sequence: start.sequence,
    first,
    count,
    fragmentBytes,
    sampleBytes,
    payload: body.take(body.left),
    sourceTimestampMs: context.sourceTimestampMs,
  };
}

function readDataStart(body: ByteReader): Endpoints & { sequence: number; inlineQosAt: number } {
  body.u16();
  const toInlineQos = body.u16();
  const inlineQosAt = body.at + toInlineQos;
  const { reader, writer } = endpoints(body);
  return { reader, writer, sequence: body.sequence(), inlineQosAt };
}

interface InlineQos {
  readonly ended: boolean;
  readonly keyHash: Uint8Array | undefined;
}

const NO_INLINE_QOS: InlineQos = { ended: false, keyHash: undefined };
const DISPOSED_OR_UNREGISTERED = 3;

function readInlineQos(body: ByteReader, at: number): InlineQos | undefined {
  body.skip(at - body.at);
  let ended = false;
  let keyHash: Uint8Array | undefined;
  const whole = readParameters(body, (id, value, length) => {
    // Status bits are in the last of four bytes, in both byte orders.
    if (id === PID.statusInfo && length === 4) ended = ((value.take(4)[3] ?? 0) & DISPOSED_OR_UNREGISTERED) !== 0;
    if (id === PID.keyHash && length === 16) keyHash = value.take(16);
  });
  return whole ? { ended, keyHash } : undefined;
}

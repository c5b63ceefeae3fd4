import type { Address } from "../network.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";

/** Parameter ids (OMG DDSI-RTPS 2.5, table 9.14; DDS-XTypes 1.3 for the representation). */
export const PID = {
  pad: 0x0000,
  sentinel: 0x0001,
  leaseDuration: 0x0002,
  topicName: 0x0005,
  typeName: 0x0007,
  protocolVersion: 0x0015,
  vendorId: 0x0016,
  reliability: 0x001a,
  durability: 0x001d,
  ownership: 0x001f,
  partition: 0x0029,
  defaultUnicastLocator: 0x0031,
  metatrafficUnicastLocator: 0x0032,
  participantGuid: 0x0050,
  builtinEndpoints: 0x0058,
  endpointGuid: 0x005a,
  keyHash: 0x0070,
  statusInfo: 0x0071,
  dataRepresentation: 0x0073,
} as const;

const PARAMETERS_MAX = 256;
const LOCATOR_UDPV4 = 1;

/**
 * Calls back for each parameter with a reader over its value. Returns false when the list is cut short, never ends, or has too
 * many entries. Parameters that nobody knows are for nobody to judge.
 */
export function readParameters(
  reader: ByteReader,
  onParameter: (id: number, value: ByteReader, length: number) => void,
): boolean {
  for (let count = 0; count < PARAMETERS_MAX; count++) {
    const id = reader.u16();
    const length = reader.u16();
    if (reader.failed) return false;
    if (id === PID.sentinel) return true;
    const end = reader.at + length;
    const value = reader.within(end);
    reader.skip(length);
    if (reader.failed) return false;
    // The highest bits mark vendors' own parameters and those that must be understood; both have nothing to say to a listener.
    if (id !== PID.pad) onParameter(id, value, length);
  }
  return false;
}

/** A UDPv4 locator, or undefined for any other kind (shared memory, TCP, UDPv6) and for what cannot be an address. */
export function readLocator(reader: ByteReader): Address | undefined {
  const kind = reader.i32();
  const port = reader.u32();
  reader.skip(12);
  const host = reader.take(4).join(".");
  if (reader.failed || kind !== LOCATOR_UDPV4 || port === 0 || port > 65_535 || host === "0.0.0.0") return undefined;
  return { host, port };
}

/** A CDR string of at most `charactersMax`; undefined when it is longer, cut short, or holds control characters. */
export function readText(reader: ByteReader, charactersMax: number): string | undefined {
  const length = reader.u32();
  if (length === 0 || length > charactersMax + 1) return undefined;
  const bytes = reader.take(length);
  if (reader.failed || bytes.at(-1) !== 0) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, length - 1).toString("utf8");
  return /[\p{Cc}\uFFFD]/u.test(text) ? undefined : text;
}

export type ParameterValue = (writer: ByteWriter) => void;

/** Writes one parameter with its padding. */
export function writeParameter(writer: ByteWriter, scratch: ByteWriter, id: number, value: ParameterValue): void {
  value(scratch);
  scratch.align(4);
  writer.u16(id).u16(scratch.length).raw(scratch.bytesWritten());
}

export function writeSentinel(writer: ByteWriter): void {
  writer.u16(PID.sentinel).u16(0);
}

export function locatorValue({ host, port }: Address): ParameterValue {
  return (writer) =>
    writer
      .i32(LOCATOR_UDPV4)
      .u32(port)
      .raw(new Uint8Array(12))
      .raw(Uint8Array.from(host.split("."), Number));
}

export function textValue(text: string): ParameterValue {
  const bytes = Buffer.from(`${text}\0`, "utf8");
  return (writer) => writer.u32(bytes.byteLength).raw(bytes);
}

/** A DDS duration: seconds and a binary fraction. */
export function durationValue(ms: number): ParameterValue {
  return (writer) => writer.i32(Math.floor(ms / 1000)).u32(((ms % 1000) / 1000) * 2 ** 32);
}

/** Milliseconds; infinite is Infinity. */
export function readDurationMs(reader: ByteReader): number {
  const seconds = reader.i32();
  const fraction = reader.u32();
  return seconds === 0x7fffffff ? Infinity : seconds * 1000 + (fraction / 2 ** 32) * 1000;
}

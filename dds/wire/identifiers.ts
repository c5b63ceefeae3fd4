/*
 * GUIDs are handled as lower-case hexadecimal text: 24 digits of prefix for the participant, 8 of entity id. Entity ids alone are
 * unsigned 32-bit numbers whose last byte is the kind (OMG DDSI-RTPS 2.5, 9.3.1).
 */

export const ENTITY = {
  unknown: 0,
  participant: 0x000001c1,
  participantWriter: 0x000100c2,
  participantReader: 0x000100c7,
  publicationsWriter: 0x000003c2,
  publicationsReader: 0x000003c7,
  subscriptionsWriter: 0x000004c2,
  subscriptionsReader: 0x000004c7,
} as const;

/** Readers of topics without a key, as all ROS topics are. */
const READER_WITHOUT_KEY = 0x04;

/** The entity id of our n-th reader, from 1. */
export function readerEntity(index: number): number {
  return ((index << 8) | READER_WITHOUT_KEY) >>> 0;
}

export const PREFIX_BYTES = 12;
export const GUID_BYTES = 16;

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** 32 digits from a participant's 24 and an entity id. */
export function guidOf(prefix: string, entity: number): string {
  return prefix + entity.toString(16).padStart(8, "0");
}

export function entityOf(guid: string): number {
  return Number.parseInt(guid.slice(PREFIX_BYTES * 2), 16);
}

/** Vendor ids as the OMG assigns them. Ours is one that nobody has been given. */
export const VENDOR = { cyclone: 0x0110, fast: 0x010f, ours: 0x01fe } as const;

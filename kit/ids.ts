import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID (26 characters, Crockford base 32): 48 bits of time in milliseconds, then 80 random bits; sorts by time. */
export function ulid(clock: Clock, random: Random): string {
  let time = clock.wallMs();
  const head: string[] = [];
  for (let index = 0; index < 10; index++) {
    head.unshift(CROCKFORD.charAt(time % 32));
    time = Math.floor(time / 32);
  }
  const tail = Array.from(random.bytes(16), (byte) => CROCKFORD.charAt(byte % 32));
  return head.join("") + tail.join("");
}

/** A random UUID (version 4). */
export function uuid(random: Random): string {
  const bytes = [...random.bytes(16)];
  const hex = bytes.map((byte, index) => {
    if (index === 6) return (byte & 0x0f) | 0x40;
    return index === 8 ? (byte & 0x3f) | 0x80 : byte;
  });
  const text = hex.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

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

import { randomBytes } from "node:crypto";

/** The only source of randomness, so that a seed can replay a run. */
export interface Random {
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 1). */
  fraction(): number;
}

export function systemRandom(): Random {
  return { bytes: (length) => new Uint8Array(randomBytes(length)), fraction: () => Math.random() };
}

/** Deterministic (mulberry32); for demonstrations, simulations and tests, never for keys or tokens in production. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(fraction() * 256)) };
}

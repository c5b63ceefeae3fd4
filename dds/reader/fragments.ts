import { LIMITS } from "../limits.ts";
import { SET_BITS_MAX, type NumberSet } from "../wire/number-set.ts";
import type { FragmentSubmessage } from "../wire/read-message.ts";

/** What became of a fragment. */
export type Assembled =
  | { readonly kind: "complete"; readonly payload: Uint8Array; readonly sourceTimestampMs: number | undefined }
  | { readonly kind: "incomplete" }
  | { readonly kind: "malformed" }
  | { readonly kind: "refused" };

interface Assembly {
  readonly writer: string;
  readonly sequence: number;
  readonly fragmentBytes: number;
  readonly sampleBytes: number;
  readonly fragments: number;
  readonly startedMs: number;
  /** By fragment number from 1; each holds `fragmentBytes`, the last one what is left. */
  readonly parts: Map<number, Uint8Array>;
  bytes: number;
  /** Not every fragment says when the sample was written. */
  sourceTimestampMs: number | undefined;
}

/**
 * Puts large samples together. Memory grows with what really came, never with what was announced; when it is full, the oldest
 * incomplete sample goes, first of the same writer, so that one writer does not displace the others.
 */
export class FragmentAssembler {
  /** In order of their beginning. */
  readonly #assemblies = new Map<string, Assembly>();
  readonly #counters: { lost: number };
  #bytes = 0;

  constructor(counters: { lost: number }) {
    this.#counters = counters;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(writer: string, fragment: FragmentSubmessage, nowMs: number): Assembled {
    const { sequence, first, count, fragmentBytes, sampleBytes, payload } = fragment;
    const fragments = Math.ceil(sampleBytes / fragmentBytes);
    if (sampleBytes > LIMITS.sampleBytesMax || fragmentBytes < LIMITS.fragmentBytesMin) return { kind: "refused" };
    const end = Math.min(sampleBytes, (first - 1 + count) * fragmentBytes);
    const length = end - (first - 1) * fragmentBytes;
    if (first - 1 + count > fragments || length > payload.byteLength) return { kind: "malformed" };
    const assembly = this.#assemblyFor(writer, fragment, fragments, nowMs);
    if (assembly === undefined) return { kind: "malformed" };
    assembly.sourceTimestampMs ??= fragment.sourceTimestampMs;
    for (let index = 0; index < count; index++) {
      if (assembly.parts.has(first + index)) continue;
      // A copy, because a view would keep the whole datagram.
      const part = payload.slice(index * fragmentBytes, Math.min((index + 1) * fragmentBytes, length));
      assembly.parts.set(first + index, part);
      assembly.bytes += part.byteLength;
      this.#bytes += part.byteLength;
    }
    if (assembly.parts.size === fragments)
      return { kind: "complete", payload: this.#finish(assembly), sourceTimestampMs: assembly.sourceTimestampMs };
    this.#makeRoom(assembly);
    return this.#assemblies.has(keyOf(writer, sequence)) ? { kind: "incomplete" } : { kind: "refused" };
  }

  /** Fragments of incomplete samples of a writer that have not come. */
  missing(writer: string): readonly { readonly sequence: number; readonly set: NumberSet }[] {
    return [...this.#assemblies.values()]
      .filter((assembly) => assembly.writer === writer)
      .map(({ sequence, fragments, parts }) => {
        const members: number[] = [];
        for (let number = 1; number <= fragments; number++) {
          if (parts.has(number)) continue;
          if (members[0] !== undefined && number >= members[0] + SET_BITS_MAX) break;
          members.push(number);
        }
        return { sequence, set: { base: members[0] ?? 1, members } };
      });
  }

  /** Forgets what stands still, and what nobody waits for. */
  expire(nowMs: number): void {
    for (const assembly of this.#assemblies.values())
      if (nowMs - assembly.startedMs > LIMITS.assemblyMsMax) this.#giveUp(assembly);
  }

  forget(isGone: (writer: string) => boolean): void {
    for (const assembly of this.#assemblies.values()) if (isGone(assembly.writer)) this.#remove(assembly);
  }

  #assemblyFor(
    writer: string,
    { sequence, fragmentBytes, sampleBytes }: FragmentSubmessage,
    fragments: number,
    nowMs: number,
  ): Assembly | undefined {
    const key = keyOf(writer, sequence);
    const known = this.#assemblies.get(key);
    if (known !== undefined)
      return known.fragmentBytes === fragmentBytes && known.sampleBytes === sampleBytes ? known : undefined;
    const parts = new Map<number, Uint8Array>();
    const size = { fragmentBytes, sampleBytes, fragments };
    const made = { writer, sequence, ...size, startedMs: nowMs, parts, bytes: 0, sourceTimestampMs: undefined };
    this.#assemblies.set(key, made);
    const same = [...this.#assemblies.values()].filter((assembly) => assembly.writer === writer);
    const [oldest] = same;
    if (same.length > LIMITS.assembliesPerWriterMax && oldest !== undefined) this.#giveUp(oldest);
    return made;
  }

  #makeRoom(current: Assembly): void {
    for (const assembly of this.#assemblies.values()) {
      if (this.#assemblies.size <= LIMITS.assembliesMax && this.#bytes <= LIMITS.assemblyBytesMax) return;
      if (assembly !== current || this.#assemblies.size === 1) this.#giveUp(assembly);
    }
  }

  #finish(assembly: Assembly): Uint8Array {
    const payload = new Uint8Array(assembly.sampleBytes);
    for (const [number, part] of assembly.parts) payload.set(part, (number - 1) * assembly.fragmentBytes);
    this.#remove(assembly);
    return payload;
  }

  #giveUp(assembly: Assembly): void {
    this.#counters.lost++;
    this.#remove(assembly);
  }

  #remove(assembly: Assembly): void {
    this.#bytes -= assembly.bytes;
    this.#assemblies.delete(keyOf(assembly.writer, assembly.sequence));
  }
}

function keyOf(writer: string, sequence: number): string {
  return `${writer}:${sequence}`;
}

import { LIMITS } from "../limits.ts";
import { SET_BITS_MAX, type NumberSet } from "../wire/number-set.ts";

/** What a stream needs of the world: where samples go, what they may weigh while they wait, and who counts. */
export interface StreamEnvironment<Item> {
  deliver(sequence: number, item: Item): void;
  readonly budget: ByteBudget;
  readonly counters: { duplicates: number; lost: number; refused: number };
}

/** Bytes that all waiting samples may take together. */
export interface ByteBudget {
  left: number;
}

/** Ranges that are remembered as never coming, per writer. */
const GAPS_MAX = 64;
const LOST_AT_ONCE_MAX = 1_000_000;

interface Held<Item> {
  readonly item: Item;
  readonly bytes: number;
}

/**
 * One writer as one reader sees it: every sample once and in order. `next` is the lowest sequence number that may still come;
 * undefined until the first word of the writer. A best-effort stream takes what is newest. A reliable one lets samples wait for
 * earlier ones, within limits; beyond them the earlier ones are given up, because a value that never comes must not hide newer
 * ones.
 */
export class InboundStream<Item> {
  readonly #environment: StreamEnvironment<Item>;
  readonly #reliable: boolean;
  /** Whether what the writer wrote before we came is wanted. */
  readonly #history: boolean;
  readonly #held = new Map<number, Held<Item>>();
  /** Ranges beyond `next` that will never come: from, and the first behind. */
  #gaps: (readonly [from: number, to: number])[] = [];
  #next: number | undefined;
  #announcedLast = 0;
  #delivered = 0;

  constructor(options: { reliable: boolean; history: boolean }, environment: StreamEnvironment<Item>) {
    this.#environment = environment;
    this.#reliable = options.reliable;
    this.#history = options.history;
  }

  /** Whether a sample with that number would be news. */
  wants(sequence: number): boolean {
    return (this.#next === undefined || sequence >= this.#next) && !this.#held.has(sequence);
  }

  /** Whether the writer has told what it has; until then a reliable reader asks. */
  get synchronized(): boolean {
    return this.#next !== undefined;
  }

  /** Samples that went through. */
  get delivered(): number {
    return this.#delivered;
  }

  data(sequence: number, item: Item, bytes: number): void {
    if (!this.wants(sequence)) {
      this.#environment.counters.duplicates++;
      return;
    }
    if (!this.#reliable) {
      if (this.#next !== undefined) this.#lose(sequence - this.#next);
      this.#deliver(sequence, item);
      return;
    }
    if (this.#next === undefined && !this.#history) this.#next = sequence;
    if (sequence === this.#next) {
      this.#deliver(sequence, item);
      this.#advance();
    } else this.#hold(sequence, { item, bytes });
  }

  /** The writer has the samples from `first` to `last`. */
  heartbeat(first: number, last: number): void {
    if (!this.#reliable) return;
    this.#next ??= this.#history ? Math.min(first, this.#lowestHeld()) : last + 1;
    this.#announcedLast = Math.max(this.#announcedLast, last);
    this.#skipTo(first);
  }

  /** Samples from `start` up to before `set.base`, and the members of the set, will never come. */
  gap(start: number, set: NumberSet): void {
    if (!this.#reliable || this.#next === undefined) return;
    this.#addGap(start, set.base);
    for (const member of set.members) this.#addGap(member, member + 1);
    this.#advance();
  }

  /** What is to be acknowledged (everything below `base`) and asked for again. */
  missing(): NumberSet {
    const base = this.#next ?? 1;
    const members: number[] = [];
    const last = Math.min(this.#announcedLast, base + SET_BITS_MAX - 1);
    for (let sequence = base; sequence <= last; sequence++)
      if (!this.#held.has(sequence) && !this.#gaps.some(([from, to]) => from <= sequence && sequence < to))
        members.push(sequence);
    return { base, members };
  }

  /** Gives up waiting for a writer that sends samples and does not say which it has. */
  settle(): void {
    if (this.#next !== undefined || this.#held.size === 0) return;
    this.#next = this.#lowestHeld();
    this.#advance();
  }

  /** Gives back what waiting samples weigh. */
  close(): void {
    for (const { bytes } of this.#held.values()) this.#environment.budget.left += bytes;
    this.#held.clear();
  }

  #deliver(sequence: number, item: Item): void {
    this.#next = sequence + 1;
    this.#delivered++;
    this.#environment.deliver(sequence, item);
  }

  #hold(sequence: number, held: Held<Item>): void {
    // A later sample says as much as a heartbeat: the earlier ones exist.
    this.#announcedLast = Math.max(this.#announcedLast, sequence);
    const { budget, counters } = this.#environment;
    if (held.bytes > budget.left) {
      counters.refused++;
      return;
    }
    budget.left -= held.bytes;
    this.#held.set(sequence, held);
    if (this.#held.size > LIMITS.heldSamplesMax) this.#skipTo(this.#lowestHeld());
  }

  #skipTo(first: number): void {
    while (this.#next !== undefined && this.#next < first) {
      const before = this.#next;
      this.#advance();
      if (this.#next !== before) continue;
      // Nothing waits at `next`: the nearest that waits before `first`, or `first` itself, is where it goes on.
      const target = Math.min(first, this.#lowestHeld());
      this.#lose(target - this.#next);
      this.#next = target;
    }
    this.#next ??= first;
    this.#advance();
  }

  /** Delivers what waits at `next` and passes what will never come, as far as that goes. */
  #advance(): void {
    for (;;) {
      const at = this.#next;
      if (at === undefined) return;
      const held = this.#held.get(at);
      if (held !== undefined) {
        this.#held.delete(at);
        this.#environment.budget.left += held.bytes;
        this.#deliver(at, held.item);
        continue;
      }
      const gap = this.#gaps.find(([from, to]) => from <= at && at < to);
      if (gap === undefined) break;
      this.#next = gap[1];
      this.#forgetHeldBelow(gap[1]);
    }
    const next = this.#next;
    if (next !== undefined && this.#gaps.length > 0) this.#gaps = this.#gaps.filter(([, to]) => to > next);
  }

  /** A writer that says of a sample which it sent that it will never come contradicts itself; what it weighs must come back. */
  #forgetHeldBelow(next: number): void {
    for (const [sequence, { bytes }] of this.#held) {
      if (sequence >= next) continue;
      this.#held.delete(sequence);
      this.#environment.budget.left += bytes;
    }
  }

  #addGap(from: number, to: number): void {
    if (to <= from || to <= (this.#next ?? 0)) return;
    const last = this.#gaps.at(-1);
    if (last !== undefined && last[1] === from) this.#gaps[this.#gaps.length - 1] = [last[0], to];
    // What does not fit is told again when it is asked for again.
    else if (this.#gaps.length < GAPS_MAX) this.#gaps.push([from, to]);
  }

  /** One lie about a number must not drown the count. */
  #lose(count: number): void {
    this.#environment.counters.lost += Math.min(count, LOST_AT_ONCE_MAX);
  }

  #lowestHeld(): number {
    let lowest = Infinity;
    for (const sequence of this.#held.keys()) lowest = Math.min(lowest, sequence);
    return lowest;
  }
}

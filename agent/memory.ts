import { NOTHING_SEEN, type Seen, type Trouble } from "./reconcile/observed.ts";

/** What this process saw and tried. A value that is replaced, never changed, so that a pass looks at one moment. */
export interface Memory {
  readonly seen: Seen;
  update(change: (seen: Seen) => Partial<Seen>): void;
}

export function createMemory(): Memory {
  let seen = NOTHING_SEEN;
  return {
    get seen() {
      return seen;
    },
    update: (change) => {
      seen = { ...seen, ...change(seen) };
    },
  };
}

export function withEntry<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): ReadonlyMap<K, V> {
  return new Map([...map, [key, value]]);
}

export function withoutEntry<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  return new Map([...map].filter(([known]) => known !== key));
}

export function attemptsOf(trouble: Trouble | null | undefined, subject: string): number {
  return trouble?.subject === subject ? trouble.attempts : 0;
}

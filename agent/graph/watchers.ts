/** Everybody who wants to be woken when the graph may have changed. */
export interface Watchers {
  add(onChange: () => void): AsyncDisposable;
  ring(): void;
  isEmpty(): boolean;
}

export function createWatchers(): Watchers {
  const watchers = new Set<() => void>();
  return {
    add: (onChange) => {
      // A function of its own, so that one that watches twice is called twice and ends once.
      const watcher = () => onChange();
      watchers.add(watcher);
      return { [Symbol.asyncDispose]: async () => void watchers.delete(watcher) };
    },
    ring: () => {
      for (const watcher of watchers) watcher();
    },
    isEmpty: () => watchers.size === 0,
  };
}

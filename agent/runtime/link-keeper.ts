import type { Clock } from "@muto/kit/clock";
import type { RunFolder } from "./run-folder.ts";
import { linkToSupervisor, type SupervisorLink } from "./supervisor-link.ts";
import { within } from "./within.ts";

/** Connections to supervisors, at most one for each instance, kept until either side ends; and who waits for their news. */
export interface LinkKeeper extends AsyncDisposable {
  /** The connection, made if need be; undefined when nobody answers there. */
  to(folder: RunFolder): Promise<SupervisorLink | undefined>;
  drop(instanceId: string): Promise<void>;
  /** Takes note from now on; the function resolves at the next news of the instance, or after the limit. */
  nextChange(instanceId: string): (limitMs: number) => Promise<void>;
  subscribe(onChange: () => void): AsyncDisposable;
}

export function linkKeeper(clock: Clock, answerLimitMs: number): LinkKeeper {
  const links = new Map<string, Promise<SupervisorLink | undefined>>();
  const waiters = new Map<string, Set<() => void>>();
  const subscribers = new Set<() => void>();

  function changed(instanceId: string): void {
    for (const wake of waiters.get(instanceId) ?? []) wake();
    waiters.delete(instanceId);
    for (const onChange of subscribers) onChange();
  }

  async function linked({ instanceId, path }: RunFolder): Promise<SupervisorLink | undefined> {
    const link = await linkToSupervisor({ folder: path, clock, answerLimitMs, onChange: () => changed(instanceId) });
    if (link === undefined || link.isClosed) links.delete(instanceId);
    else void link.closed.then(() => links.delete(instanceId));
    return link;
  }

  return {
    to: (folder) => {
      const linking = links.get(folder.instanceId) ?? linked(folder);
      links.set(folder.instanceId, linking);
      return linking;
    },
    drop: async (instanceId) => {
      const link = await links.get(instanceId);
      link?.close();
      await link?.closed;
    },
    nextChange: (instanceId) => {
      const news = Promise.withResolvers<void>();
      const known = waiters.get(instanceId) ?? new Set();
      waiters.set(instanceId, known.add(news.resolve));
      return async (limitMs) => {
        await within(clock, limitMs, news.promise);
        known.delete(news.resolve);
      };
    },
    subscribe: (onChange) => {
      subscribers.add(onChange);
      return { [Symbol.asyncDispose]: async () => void subscribers.delete(onChange) };
    },
    [Symbol.asyncDispose]: async () => {
      subscribers.clear();
      for (const link of await Promise.all(links.values())) {
        link?.close();
        await link?.closed;
      }
    },
  };
}

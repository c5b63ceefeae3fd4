import { openParticipant, type Participant, type SubscribeOptions } from "@muto/dds/participant";
import type { UdpNetwork } from "@muto/dds/network";
import { backoffMs } from "@muto/kit/backoff";
import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { Random } from "@muto/kit/random";
import type { DdsProvider } from "@muto/spec";

export interface DdsDomainOptions {
  readonly provider: Pick<DdsProvider, "name" | "domainId" | "interfaceAddress" | "multicast" | "peers">;
  readonly network: UdpNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** One membership in a DDS domain, shared by the signals and the graph. */
export interface DdsDomain extends AsyncDisposable {
  /** Undefined until the interface could be opened; `sinceMs` is when that was. */
  joined(): { readonly participant: Participant; readonly sinceMs: number } | undefined;
  /** Hears a topic, from the moment on at which the domain is joined. */
  subscribe(subscription: SubscribeOptions): Disposable;
  /** Calls back when the graph may have changed. */
  watch(onChange: () => void): Disposable;
}

const RETRY_MS = { base: 1_000, max: 30_000 } as const;

/**
 * Joins the domain as soon as the interface is there, and tries for ever: on a vehicle an address may come minutes after the
 * boot, and until then the gates are closed because nothing is heard.
 */
export function joinDdsDomain(options: DdsDomainOptions): DdsDomain {
  const stop = new AbortController();
  const wanted = new Map<SubscribeOptions, Disposable | undefined>();
  const watchers = new Set<() => void>();
  const changed = () => {
    for (const onChange of watchers) onChange();
  };
  const state: { joined: ReturnType<DdsDomain["joined"]> } = { joined: undefined };
  const joining = join(options, stop.signal).then((participant) => {
    if (participant === undefined) return;
    state.joined = { participant, sinceMs: options.clock.monotonicMs() };
    for (const subscription of wanted.keys()) wanted.set(subscription, participant.subscribe(subscription));
    participant.watch(changed);
    changed();
  });
  return {
    joined: () => state.joined,
    subscribe: (subscription) => {
      wanted.set(subscription, state.joined?.participant.subscribe(subscription));
      return {
        [Symbol.dispose]: () => {
          wanted.get(subscription)?.[Symbol.dispose]();
          wanted.delete(subscription);
        },
      };
    },
    watch: (onChange) => {
      const watcher = () => onChange();
      watchers.add(watcher);
      return { [Symbol.dispose]: () => void watchers.delete(watcher) };
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await joining;
      await state.joined?.participant[Symbol.asyncDispose]();
    },
  };
}

/** Whether a writer of this topic is alive. */
export function hasWriter(domain: DdsDomain, topic: string, writer: string): boolean {
  const topics = domain.joined()?.participant.graph().topics ?? [];
  return topics.some(({ name, publishers }) => name === topic && publishers.some((one) => one.writer === writer));
}

async function join(options: DdsDomainOptions, stop: AbortSignal): Promise<Participant | undefined> {
  const { provider, network, clock, random, logger } = options;
  const { name, domainId, interfaceAddress, multicast, peers } = provider;
  for (let attempt = 0; !stop.aborted; attempt += 1) {
    try {
      const settings = { domainId, interfaceAddress, multicast, initialPeers: peers };
      return await openParticipant({ ...settings, network, clock, random, logger });
    } catch (error) {
      // Said once: the address may be away for a night.
      if (attempt === 0) logger.warn("DDS domain cannot be joined yet", { provider: name, interfaceAddress, error });
    }
    const { base, max } = RETRY_MS;
    await clock.sleep(backoffMs({ attempt, baseMs: base, maxMs: max, fraction: random.fraction() }), stop);
  }
  return undefined;
}

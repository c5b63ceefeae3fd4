import type { Clock } from "@muto/kit/clock";
import type { Disk } from "@muto/kit/disk";
import type { Logger } from "@muto/kit/logger";
import type { UdpNetwork } from "@muto/dds/network";
import type { Random } from "@muto/kit/random";
import type { AgentConfig, ChangeInProgress, SignalProvider } from "@muto/spec";
import { openDdsGraph } from "../graph/dds-graph.ts";
import { openRosbridgeGraph } from "../graph/rosbridge-graph.ts";
import type { GraphReader, SignalReader } from "../ports.ts";
import type { WebSocketConnector } from "../rosbridge/web-socket.ts";
import { hear, standingLimits, type StandingLimits } from "../safety/hear.ts";
import { silentProvider, type ProviderSamples, type TechnicianSays } from "../safety/signals.ts";
import { joinDdsDomain } from "./dds-domain.ts";
import { openDdsProvider } from "./dds-provider.ts";
import { openFileProvider } from "./file-provider.ts";
import { graphProviderOf } from "./graph-provider.ts";
import type { OnHeard } from "./line.ts";
import { planOf } from "./mapping.ts";
import { readLock, watchLock } from "./lock-file.ts";
import { openRosbridgeProvider } from "./rosbridge-provider.ts";
import { openSocketProvider } from "./socket-provider.ts";

export interface SignalReaderOptions {
  readonly config: Pick<AgentConfig, "safety" | "signals">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly disk: Disk;
  readonly webSocket: WebSocketConnector;
  readonly udp: UdpNetwork;
  /** What a technician on the vehicle said, read anew at every look. */
  readonly technician: TechnicianReader;
}

export interface TechnicianReader {
  read(): Promise<TechnicianSays>;
  watch(onChange: () => void): AsyncDisposable;
}

export interface OpenSignalReader extends SignalReader, AsyncDisposable {
  /** Tells every client of every socket provider, and ROS software over every rosbridge that is configured for it. */
  tell(change: ChangeInProgress): void;
  /** The ROS graph through the provider that the configuration names; undefined when no provider shows it. */
  readonly graph: GraphReader | undefined;
}

/**
 * Opens every configured provider and keeps what each says, line by line. It judges nothing: `read` hands the samples to the
 * pure gates. Rejects when a socket cannot be opened, because a vehicle whose signals cannot be heard should say so at
 * start and not at two in the morning.
 */
export async function openSignalReader(options: SignalReaderOptions): Promise<OpenSignalReader> {
  const { config, technician } = options;
  const heard = new Map<string, ProviderSamples>();
  const watchers = new Set<() => void>();
  const changed = () => {
    for (const onChange of watchers) onChange();
  };
  await using opening = new AsyncDisposableStack();
  const told: ((change: ChangeInProgress) => void)[] = [];
  let graph: GraphReader | undefined;
  for (const provider of config.signals.providers) {
    const onHeard = lineHearer(options, provider.name, heard, changed);
    const source = await openProvider(provider, { ...options, onHeard }, opening);
    if (source.tell !== undefined) told.push(source.tell);
    graph ??= source.graph;
  }
  const { lockFile } = config.signals;
  if (lockFile !== undefined) {
    const stop = new AbortController();
    const watching = watchLock(options, lockFile, changed, stop.signal);
    opening.defer(async () => {
      stop.abort();
      await watching;
    });
  }
  const opened = opening.move();
  return {
    read: async () => ({
      providers: new Map(heard),
      technician: await technician.read(),
      ...(lockFile !== undefined && { lock: await readLock(options.disk, lockFile) }),
    }),
    watch: (onChange) => {
      watchers.add(onChange);
      const watch = technician.watch(onChange);
      return {
        [Symbol.asyncDispose]: async () => {
          watchers.delete(onChange);
          await watch[Symbol.asyncDispose]();
        },
      };
    },
    tell: (change) => {
      for (const tell of told) tell(change);
    },
    graph,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface OpenedProvider {
  readonly tell?: (change: ChangeInProgress) => void;
  readonly graph?: GraphReader;
}

async function openProvider(
  provider: SignalProvider,
  options: SignalReaderOptions & { readonly onHeard: OnHeard },
  opening: AsyncDisposableStack,
): Promise<OpenedProvider> {
  const { config, clock, logger, random, onHeard } = options;
  switch (provider.kind) {
    case "file":
      opening.use(await openFileProvider({ clock, logger, path: provider.path, onLine: onHeard }));
      return {};
    case "socket": {
      const socket = opening.use(await openSocketProvider({ clock, logger, path: provider.path, onLine: onHeard }));
      return { tell: (change) => socket.tell(change) };
    }
    case "rosbridge": {
      const shared = { connector: options.webSocket, clock, random, logger };
      const { limit: limits } = standingLimits(config, provider.name);
      const plan = planOf(config.signals, provider);
      const rosbridge = opening.use(openRosbridgeProvider({ ...shared, provider, plan, limits, onHeard }));
      const tell = (change: ChangeInProgress) => rosbridge.tell(change);
      if (graphProviderOf(config.signals) !== provider.name) return { tell };
      return { tell, graph: opening.use(openRosbridgeGraph({ ...shared, url: provider.url })) };
    }
    case "dds": {
      const domain = opening.use(joinDdsDomain({ provider, network: options.udp, clock, random, logger }));
      const { limit: limits } = standingLimits(config, provider.name);
      opening.use(openDdsProvider({ domain, plan: planOf(config.signals, provider), limits, clock, onHeard }));
      if (graphProviderOf(config.signals) !== provider.name) return {};
      return { graph: opening.use(openDdsGraph({ domain, clock })) };
    }
  }
}

function lineHearer(
  { config, clock, logger }: SignalReaderOptions,
  provider: string,
  heard: Map<string, ProviderSamples>,
  onChange: () => void,
): OnHeard {
  const limits = standingLimits(config, provider);
  return (line, ageMs = 0) => {
    const before = heard.get(provider) ?? silentProvider;
    const now = { monotonicMs: clock.monotonicMs() - ageMs, wallMs: clock.wallMs() - ageMs };
    const after = hear(before, line, now, limits);
    heard.set(provider, after);
    if (after.lastLine === "malformed" && before.lastLine !== "malformed") {
      logger.warn("signal provider is not understood", { provider });
    }
    if (line !== "malformed" && line.kind === "malformed") {
      const keys = line.keys.filter((key) => before.samples[key]?.malformed !== true);
      if (keys.length > 0) logger.warn("signals of a provider are not understood", { provider, keys });
    }
    const { standstillSec } = config.safety;
    if (meaningOf(after, limits, standstillSec) !== meaningOf(before, limits, standstillSec)) onChange();
  };
}

/**
 * What a gate might make of these samples, coarsely, so that a gateway that repeats itself ten times a second wakes nobody,
 * and a vehicle that has stood long enough wakes the loop at once. Only a hint: the gates look at the samples themselves.
 */
function meaningOf(
  { samples, lastLine, calmSinceMs }: ProviderSamples,
  { limit }: StandingLimits,
  standstillSec: number,
) {
  const steady = (["speedMps", "yawRateRadps"] as const).map((key) => {
    const sample = samples[key];
    const sinceMs = calmSinceMs[key];
    if (sample === undefined || sample.value === null) return null;
    const isBelow = Math.abs(sample.value) < limit[key];
    return isBelow && sinceMs !== null ? sample.takenMs - sinceMs >= standstillSec * 1000 : "moving";
  });
  const { batteryPct, parked, mode, charging, metered, hold, changeAcknowledged } = samples;
  const others = [parked, mode, charging, metered, hold, changeAcknowledged].map((sample) => sample?.value);
  const percent = batteryPct?.value;
  return JSON.stringify([lastLine, ...steady, ...others, typeof percent === "number" ? Math.floor(percent) : percent]);
}

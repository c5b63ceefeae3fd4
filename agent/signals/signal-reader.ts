import type { Clock } from "@muto/kit/clock";
import type { Logger } from "@muto/kit/logger";
import type { AgentConfig, ChangeInProgress, SignalLine, SignalProvider } from "@muto/spec";
import type { SignalReader } from "../ports.ts";
import { hear, standingLimits, type StandingLimits } from "../safety/hear.ts";
import { silentProvider, type ProviderSamples, type TechnicianSays } from "../safety/signals.ts";
import { openFileProvider } from "./file-provider.ts";
import { openSocketProvider, type SocketProvider } from "./socket-provider.ts";

export interface SignalReaderOptions {
  readonly config: Pick<AgentConfig, "safety" | "signals">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What a technician on the vehicle said, read anew at every look. */
  readonly technician: TechnicianReader;
}

export interface TechnicianReader {
  read(): Promise<TechnicianSays>;
  watch(onChange: () => void): AsyncDisposable;
}

export interface OpenSignalReader extends SignalReader, AsyncDisposable {
  /** Tells every client of every socket provider. */
  tell(change: ChangeInProgress): void;
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
  await using opening = new AsyncDisposableStack();
  const sockets: SocketProvider[] = [];
  for (const provider of config.signals.providers) {
    const onLine = lineHearer(options, provider.name, heard, () => {
      for (const onChange of watchers) onChange();
    });
    const source = opening.use(await openProvider(provider, { ...options, onLine }));
    if ("tell" in source) sockets.push(source);
  }
  const opened = opening.move();
  return {
    read: async () => ({ providers: new Map(heard), technician: await technician.read() }),
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
      for (const socket of sockets) socket.tell(change);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

type HearerOptions = Pick<SignalReaderOptions, "clock" | "logger"> & { readonly onLine: (line: Line) => void };
type Line = SignalLine | "malformed";

async function openProvider(
  provider: SignalProvider,
  options: HearerOptions,
): Promise<AsyncDisposable | SocketProvider> {
  switch (provider.kind) {
    case "file":
      return openFileProvider({ ...options, path: provider.path });
    case "socket":
      return openSocketProvider({ ...options, path: provider.path });
  }
}

function lineHearer(
  { config, clock, logger }: SignalReaderOptions,
  provider: string,
  heard: Map<string, ProviderSamples>,
  onChange: () => void,
): (line: Line) => void {
  const limits = standingLimits(config, provider);
  return (line) => {
    const before = heard.get(provider) ?? silentProvider;
    const now = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const after = hear(before, line, now, limits);
    heard.set(provider, after);
    if (after.lastLine === "malformed" && before.lastLine !== "malformed") {
      logger.warn("signal provider is not understood", { provider });
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
